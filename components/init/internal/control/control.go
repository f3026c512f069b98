// Package control lets programs see what the system's containers do, and change
// it. A connection to its socket, which only root may open, is for one [Request]
// as JSON; the answer is a [Reply], after which come entries of logs if those
// were asked for, and then the end.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/init/internal/service"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// Socket is where the system is controlled.
const Socket = "/run/lkx/control.sock"

// Container is what is known of a container, or of containerd.
type Container struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "service", "onboot", "onshutdown", "system"
	record.Record
	Memory int64         `json:"memory,omitempty"` // bytes
	CPU    time.Duration `json:"cpu,omitempty"`    // nanoseconds that its processes ran
	Age    time.Duration `json:"age"`              // nanoseconds in its state
}

// System is what is known of the machine.
type System struct {
	Version   string        `json:"version"`
	Kernel    string        `json:"kernel"`
	Hostname  string        `json:"hostname"`
	Stage     string        `json:"stage"`     // "onboot", "run", "onshutdown"
	Uptime    time.Duration `json:"uptime"`    // nanoseconds
	Memory    int64         `json:"memory"`    // bytes in all
	Available int64         `json:"available"` // bytes that programs can still get
}

// Request is what is asked.
type Request struct {
	Do    string   `json:"do"`              // "system", "containers", "logs", "start", "stop", "restart", "poweroff", "reboot", "halt"
	Names []string `json:"names,omitempty"` // of containers: one to start, stop, restart; those for logs, none for all

	// Of logs alone:

	Lines  *int      `json:"lines,omitempty"`  // the last so many; nil for all there are
	Stream string    `json:"stream,omitempty"` // "out" or "err" of services; "" for both
	Since  time.Time `json:"since,omitzero"`   // later ones alone
	Follow bool      `json:"follow,omitempty"` // those that are still to come, too
}

// Reply is what is answered.
type Reply struct {
	Error      string      `json:"error,omitempty"` // what could not be done; the rest is empty then
	Hint       string      `json:"hint,omitempty"`  // what to do about it
	System     *System     `json:"system,omitempty"`
	Containers []Container `json:"containers,omitempty"` // all, or the one that was asked for
}

// Server answers.
type Server struct {
	Stage   string // of the system's life
	Version string
	State   string        // directory with the records, KIND/NAME each
	Bundles string        // directory with the containers, KIND/NAME each
	Ask     Asker         // nil while there are no services
	Hub     *memlog.Hub   // what containers said
	Log     *log.Logger   // what is asked is said there
	Timeout time.Duration // of a request to a service
	// Power asks for the machine to go down as the name says, and tells whether
	// there is such a way.
	Power func(name string) (bool, error)
}

// Asker has a service do something.
type Asker interface {
	Ask(ctx context.Context, name string, verb service.Verb) error
}

// Listen makes the socket at path, which only root may open.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of a socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("removing an old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // the next process may have made its own there
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	return l, nil
}

// Serve answers at l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) {
	memlog.Accept(ctx, l, func(ctx context.Context, conn net.Conn) {
		var r Request
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // the next read tells
		if err := json.NewDecoder(conn).Decode(&r); err != nil {
			s.answer(conn, &Reply{Error: fmt.Sprintf("reading the request: %v", err)})
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			_, _ = conn.Read(make([]byte, 1)) // ends when the other side goes
		}()
		if r.Do == "logs" {
			s.logs(ctx, conn, &r)
			return
		}
		s.answer(conn, s.do(ctx, &r))
	})
}

// answer tells whether the other side has taken the answer.
func (s *Server) answer(w io.Writer, r *Reply) bool { return json.NewEncoder(w).Encode(r) == nil }

// do does all but logs.
func (s *Server) do(ctx context.Context, r *Request) *Reply {
	switch r.Do {
	case "system":
		return &Reply{System: s.system()}
	case "containers":
		return &Reply{Containers: s.containers()}
	case "start", "stop", "restart":
		if len(r.Names) == 1 {
			return s.ask(ctx, r.Names[0], service.Verb(r.Do))
		}
		return &Reply{Error: r.Do + " wants one name"}
	}
	known, err := s.Power(r.Do)
	if !known {
		return &Reply{Error: fmt.Sprintf("%q is nothing that can be done", r.Do)}
	}
	s.Log.Printf("%s, as asked", r.Do)
	if err != nil {
		return &Reply{Error: fmt.Sprintf("asking the first process: %v", err)}
	}
	return &Reply{}
}

// ask has a service start, stop or restart.
func (s *Server) ask(ctx context.Context, name string, verb service.Verb) *Reply {
	c, fault := s.find(name)
	switch {
	case fault != nil:
		return fault
	case c.Kind != "service":
		return &Reply{Error: fmt.Sprintf("it is no service but of kind %s", c.Kind), Hint: "lkxctl ls shows what there is"}
	case s.Ask == nil:
		return &Reply{Error: fmt.Sprintf("no services run: the system is in the stage %q", s.Stage)}
	}
	s.Log.Printf("service %s: %s, as asked", name, verb)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	err := s.Ask.Ask(ctx, name, verb)
	switch {
	case errors.Is(err, service.ErrAway):
		return &Reply{Error: err.Error(), Hint: "it is started again by itself; lkxctl logs containerd tells more"}
	case errors.Is(err, service.ErrNotYet):
		return &Reply{Error: err.Error(), Hint: "it is done when it can be; lkxctl ls shows its state, lkxctl logs lkx what it waits for"}
	case err != nil:
		return &Reply{Error: err.Error(), Hint: "lkxctl logs " + name}
	}
	c, _ = s.find(name)
	return &Reply{Containers: []Container{c}}
}
