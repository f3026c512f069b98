// Package vsock has stream connections between a virtual machine and its host
// (vsock(7)), which need neither a network nor an address.
package vsock

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Addr is an end of a connection.
type Addr struct{ CID, Port uint32 }

// Network implements [net.Addr].
func (Addr) Network() string { return "vsock" }

// String implements [net.Addr].
func (a Addr) String() string { return fmt.Sprintf("vsock://%d:%d", a.CID, a.Port) }

// Context IDs of the host, and of this machine as it calls itself.
const (
	Host  = unix.VMADDR_CID_HOST
	Local = unix.VMADDR_CID_LOCAL
)

// Listener takes connections from the host.
type Listener struct {
	// Local is to take those from this machine itself, too. Any of its programs
	// can make them, in whatever container.
	Local bool

	file *os.File
	raw  syscallConn
	addr Addr
}

// syscallConn is what [os.File.SyscallConn] returns, as far as it is used.
type syscallConn interface {
	Read(f func(fd uintptr) bool) error
}

var _ net.Listener = (*Listener)(nil)

const backlog = 16

// Listen listens on a port.
func Listen(port uint32) (*Listener, error) {
	addr := Addr{unix.VMADDR_CID_ANY, port}
	fd, err := socket(unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("listening on vsock port %d: %w", port, err)
	}
	file := os.NewFile(uintptr(fd), addr.String())
	err = unix.Bind(fd, &unix.SockaddrVM{CID: addr.CID, Port: port})
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	var raw syscallConn
	if err == nil {
		raw, err = file.SyscallConn()
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("listening on vsock port %d: %w", port, err)
	}
	return &Listener{file: file, raw: raw, addr: addr}, nil
}

func socket(flags int) (int, error) {
	return unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
}

// Accept implements [net.Listener]. Connections from elsewhere are closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		fd, peer, err := l.accept()
		if err != nil {
			return nil, fmt.Errorf("accepting on %v: %w", l.addr, err)
		}
		c := &conn{os.NewFile(uintptr(fd), peer.String()), l.addr, peer}
		if peer.CID == Host || l.Local && peer.CID == Local {
			return c, nil
		}
		c.Close()
	}
}

func (l *Listener) accept() (int, Addr, error) {
	var fd int
	var from unix.Sockaddr
	var err error
	rerr := l.raw.Read(func(s uintptr) bool {
		fd, from, err = unix.Accept4(int(s), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return err != unix.EAGAIN && err != unix.EINTR && err != unix.ECONNABORTED
	})
	if rerr != nil { // the listener was closed
		return 0, Addr{}, net.ErrClosed
	}
	if err != nil {
		return 0, Addr{}, err
	}
	peer, ok := from.(*unix.SockaddrVM)
	if !ok {
		unix.Close(fd)
		return 0, Addr{}, fmt.Errorf("a peer of another kind: %T", from)
	}
	return fd, Addr{peer.CID, peer.Port}, nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return l.addr }

// Close implements [net.Listener].
func (l *Listener) Close() error { return l.file.Close() }

// Dial connects to another machine, or to [Host] or [Local]. The kernel gives up
// after 2 s (SO_VM_SOCKETS_CONNECT_TIMEOUT).
func Dial(to Addr) (net.Conn, error) {
	fd, err := socket(0)
	if err != nil {
		return nil, fmt.Errorf("connecting to %v: %w", to, err)
	}
	err = unix.Connect(fd, &unix.SockaddrVM{CID: to.CID, Port: to.Port})
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connecting to %v: %w", to, err)
	}
	return &conn{os.NewFile(uintptr(fd), to.String()), Addr{}, to}, nil
}

// conn is a connection. Its file knows how to wait, and of deadlines.
type conn struct {
	*os.File
	local, remote Addr
}

var _ net.Conn = (*conn)(nil)

// LocalAddr implements [net.Conn].
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *conn) RemoteAddr() net.Addr { return c.remote }
