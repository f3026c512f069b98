package health

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// own is this process's network namespace.
const own = "/proc/self/ns/net"

// within calls f on a thread that is in the network namespace that name is a
// file of. f must not leave its work to other goroutines.
func within(name string, f func() error) error {
	ns, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("opening the network namespace: %w", err)
	}
	defer ns.Close()
	if same(ns) {
		return f()
	}
	return discarded(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the network namespace: %w", err)
		}
		return f()
	})
}

// same tells whether ns is the namespace of this process.
func same(ns *os.File) bool {
	a, err := ns.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(own)
	return err == nil && os.SameFile(a, b)
}

// discarded calls f on a thread that is gone afterwards. That cannot be the
// first one, which would stay in the namespace and keep it and the interfaces
// in it: if it comes to this goroutine, it is held while another does the work.
func discarded(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- discarded(f)
			return
		}
		done <- f()
	}()
	return <-done
}
