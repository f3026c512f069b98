package kmod

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Event is what the kernel says about a device: its variables, such as ACTION,
// SUBSYSTEM, DEVNAME, MODALIAS.
type Event map[string]string

// Events is the kernel's stream of events about devices.
type Events struct{ socket *os.File }

// Listen opens the stream; what comes from then on is kept until it is read.
func Listen() (*Events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("opening a socket for device events: %w", err)
	}
	// A burst of events at boot must fit: nothing reads while modules load.
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20); err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listening for device events: %w", err)
	}
	return &Events{os.NewFile(uintptr(fd), "uevent")}, nil
}

// Next waits for an event. Events may have been lost when it is an error.
func (e *Events) Next() (Event, error) {
	buf := make([]byte, 16<<10) // the kernel's events are 2 KiB at most
	n, err := e.socket.Read(buf)
	if err != nil {
		return nil, fmt.Errorf("reading a device event: %w", err)
	}
	return parseEvent(string(buf[:n])), nil
}

// parseEvent reads "action@devpath\0KEY=value\0…".
func parseEvent(text string) Event {
	out := Event{}
	for field := range strings.SplitSeq(text, "\x00") {
		if k, v, ok := strings.Cut(field, "="); ok {
			out[k] = v
		}
	}
	return out
}
