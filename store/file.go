package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// poll is how often a lock that another process holds is asked for again.
const poll = 20 * time.Millisecond

// lock takes the lock called name, of this process's goroutines and of all
// processes. The kernel drops it should the process die.
func (s *Store) lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := os.MkdirAll(s.side("locks"), 0o755); err != nil {
		return nil, err
	}
	l := s.flock(name)
	if _, err := l.TryLockContext(ctx, poll); err != nil {
		return nil, fmt.Errorf("locking %s: %w", l.Path(), err)
	}
	return func() { _ = l.Close() }, nil
}

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".tmp-"

// writeFile gives the file name the contents data, at once and for good.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), tempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there when all went well
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Chmod(0o644); err != nil {
		return errors.Join(err, f.Close())
	}
	return settle(f, name)
}

// place closes f and moves it to name. It is not flushed: what is fetched is
// verified whenever it is used.
func place(f *os.File, name string) error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// settle flushes and closes f, and moves it to name.
func settle(f *os.File, name string) error {
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := place(f, name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	// Some file systems cannot flush a directory, and need not.
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// meter reports how much was written to it.
type meter struct {
	s    *Store
	now  Event
	last time.Time
}

// often enough for a smooth bar, rare enough to cost nothing.
const interval = 100 * time.Millisecond

func (m *meter) Write(p []byte) (int, error) {
	m.now.Done += int64(len(p))
	if t := time.Now(); t.Sub(m.last) >= interval && m.now.Done < m.now.Total {
		m.last = t
		m.s.report(m.now)
	}
	return len(p), nil
}

// done reports the end.
func (m *meter) done() {
	m.now.Done, m.now.Finished = m.now.Total, true
	m.s.report(m.now)
}

// until is r, ended by ctx.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}
