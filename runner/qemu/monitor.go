package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/lkx-os/lkx/runner"
)

// monitorFD is QEMU's end of the control connection: the first file that it
// inherits besides the standard three.
const monitorFD = 3

// monitor is the control connection to one QEMU (QEMU Machine Protocol).
type monitor struct {
	conn net.Conn
	done chan struct{} // closed when QEMU has no more to say

	mu  sync.Mutex
	end ending
}

// ending is how a machine came to its end, as far as QEMU said.
type ending struct {
	reason   string // of the SHUTDOWN event
	pressed  bool   // the power button was
	panicked bool
}

// fault is what was wrong about the end; nil for a guest that powered off.
func (e ending) fault() error {
	switch {
	case e.panicked || e.reason == "guest-panic":
		return runner.ErrPanicked
	case e.reason == "guest-reset":
		return errors.New("the guest restarted")
	case e.reason == "host-signal":
		return errors.New("QEMU was ended by a signal")
	}
	return nil
}

// newMonitor makes a control connection and the end of it that QEMU gets.
func newMonitor() (*monitor, *os.File, error) {
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "monitor"), os.NewFile(uintptr(pair[1]), "monitor of QEMU")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	m := &monitor{conn: conn, done: make(chan struct{})}
	if err := m.send(`{"execute": "qmp_capabilities"}`); err != nil {
		theirs.Close()
		return nil, nil, errors.Join(err, conn.Close())
	}
	go m.listen()
	return m, theirs, nil
}

func (m *monitor) send(command string) error {
	_, err := fmt.Fprintln(m.conn, command)
	return err
}

// listen notes events until QEMU hangs up.
func (m *monitor) listen() {
	defer close(m.done)
	in := json.NewDecoder(m.conn)
	for {
		var message struct {
			Event string
			Data  struct{ Reason string }
		}
		if err := in.Decode(&message); err != nil {
			return
		}
		m.mu.Lock()
		switch message.Event {
		case "SHUTDOWN":
			m.end.reason = message.Data.Reason
		case "GUEST_PANICKED":
			m.end.panicked = true
		}
		m.mu.Unlock()
	}
}

// pressButton presses the power button, with command, each time something is
// received, and once when button is closed.
func (m *monitor) pressButton(button <-chan struct{}, command string) {
	for {
		select {
		case _, more := <-button:
			m.mu.Lock()
			m.end.pressed = true
			m.mu.Unlock()
			// Should QEMU be gone, there is no machine left to power off.
			if err := m.send(command); err != nil || !more {
				return
			}
		case <-m.done:
			return
		}
	}
}

// wait waits for QEMU's last word.
func (m *monitor) wait() ending {
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.end
}
