package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// ErrBusy is what Open gives with Options.NoWait when others use the store.
var ErrBusy = errors.New("the image store is in use")

const (
	useLock   = "use"   // shared by all who have the store open, or of one who is alone
	gateLock  = "gate"  // of who waits to be alone, so that those who come later wait behind
	indexLock = "index" // of who writes index.json
)

// hold takes the store for use until the lock is closed. The lock is nil for a
// store that cannot be written to, where nobody can lock, nor prune.
func (s *Store) hold(ctx context.Context, o Options) (*flock.Flock, error) {
	err := os.MkdirAll(s.side("locks"), 0o755)
	if err == nil {
		var use *flock.Flock
		if use, err = s.takeTurn(ctx, o); err == nil {
			return use, nil
		}
	}
	if !o.Alone && IsReadOnly(err) {
		return nil, nil
	}
	return nil, err
}

// takeTurn takes the lock on use, behind whoever waits to be alone.
func (s *Store) takeTurn(ctx context.Context, o Options) (*flock.Flock, error) {
	gate, use := s.flock(gateLock), s.flock(useLock)
	defer gate.Close()
	var waiting bool
	for _, l := range []*flock.Flock{gate, use} {
		now, later := l.TryRLock, l.TryRLockContext
		if o.Alone {
			now, later = l.TryLock, l.TryLockContext
		}
		ok, err := now()
		if err == nil && !ok {
			switch {
			case o.NoWait:
				return nil, errors.Join(ErrBusy, use.Close())
			case o.Waiting != nil && !waiting:
				o.Waiting()
			}
			waiting = true
			_, err = later(ctx, poll)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", l.Path(), err), use.Close())
		}
	}
	return use, nil
}

func (s *Store) flock(name string) *flock.Flock {
	return flock.New(s.side("locks", name), flock.SetPermissions(0o644))
}

// touch notes that a file of the store is of use now: its access time, which
// file systems do not keep by themselves, says so. A store that cannot be
// written to forgets it.
func touch(path string) { _ = os.Chtimes(path, time.Now(), time.Time{}) }

// lastUse is when a file was of use last.
func lastUse(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Atim.Unix())
	}
	return info.ModTime()
}

// IsReadOnly tells whether err is that of a store that cannot be written to.
func IsReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
