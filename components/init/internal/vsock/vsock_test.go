package vsock

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLoopback(t *testing.T) {
	l, err := Listen(unix.VMADDR_PORT_ANY)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("the kernel has no vsock: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Local = true
	name, err := unix.Getsockname(int(l.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	client, err := Dial(Addr{Local, name.(*unix.SockaddrVM).Port})
	// Without it, it is the host that is asked, which does not answer.
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ETIMEDOUT) {
		t.Skip("the kernel has no vsock_loopback: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := server.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Error(err)
	}
	if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting after the end: %v", err)
	}
}
