// Package gate is the gate between the onboot containers and the services: the
// first process closes it before it starts what runs the services, and opens it
// when the onboot containers have ended.
package gate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// file is locked while the gate is closed. The kernel lets go of the lock when
// its holder ends, so nobody waits in vain.
const file = "/run/lkx/onboot.lock"

// Gate is closed. A nil Gate is open.
type Gate struct{ lock *os.File }

// Close closes the gate.
func Close() (*Gate, error) { return closeAt(file) }

func closeAt(name string) (*Gate, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("holding back the services: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, fmt.Errorf("holding back the services: %w", err)
	}
	return &Gate{f}, nil
}

// Open opens the gate.
func (g *Gate) Open() {
	if g != nil {
		g.lock.Close()
	}
}

// Await waits for the gate to be open. It tells whether ctx was not done before.
func Await(ctx context.Context) bool { return awaitAt(ctx, file) }

func awaitAt(ctx context.Context, name string) bool {
	open := make(chan struct{})
	go func() {
		defer close(open)
		f, err := os.Open(name)
		if err != nil {
			return // there is no gate
		}
		defer f.Close()
		for unix.Flock(int(f.Fd()), unix.LOCK_SH) == unix.EINTR {
		}
	}()
	select {
	case <-ctx.Done():
		return false
	case <-open:
		return ctx.Err() == nil
	}
}
