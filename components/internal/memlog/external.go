package memlog

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// External is one output that an external logger reads.
type External struct {
	fd int // writing end of a pipe
}

// Send tells the external logger at socket of an output of that name.
func Send(socket, name string) (*External, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	err := pass(socket, name, pipe[0])
	if err != nil {
		unix.Close(pipe[1])
		return nil, fmt.Errorf("telling the logger: %w", err)
	}
	return &External{fd: pipe[1]}, nil
}

// pass sends a file with its name. The logger reads it, and waits there.
func pass(socket, name string, fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^unix.O_NONBLOCK)
	}
	if err != nil {
		return err
	}
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(conn)
	return unix.Sendmsg(conn, []byte(name), unix.UnixRights(fd), &unix.SockaddrUnix{Name: socket}, unix.MSG_DONTWAIT)
}

// atomic is PIPE_BUF (pipe(7)): a pipe takes so many bytes, or none.
const atomic = 4096

// Line hands a line on. One that the logger does not take at once is lost to
// it, and so are all when it has gone.
func (x *External) Line(line []byte) {
	out := append([]byte(nil), line[:min(len(line), atomic-1)]...)
	_, _ = unix.Write(x.fd, append(out, '\n'))
}

// Close ends the output.
func (x *External) Close() { unix.Close(x.fd) }
