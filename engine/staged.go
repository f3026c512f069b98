package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/internal/sparse"
)

// stagePrefix begins the names of directories in which files are made.
const stagePrefix = ".lkx-"

// staged makes files in a directory beside where they belong, and puts them
// there when all are whole. make fills the directory. A file that is there already
// with the same bytes stays as it is.
func (r *Request) staged(make func(dir string) error) ([]string, error) {
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return nil, fmt.Errorf("making the output directory: %w", err)
	}
	dir, unlock, err := stage(r.Out)
	if err != nil {
		return nil, fmt.Errorf("writing to the output directory: %w", err)
	}
	defer unlock()
	defer os.RemoveAll(dir)
	if err := make(dir); err != nil {
		return nil, err
	}
	var names []string
	for _, f := range r.Formats {
		names = append(names, f.Files(r.Base)...)
	}
	var changed []string
	for _, name := range names {
		same, err := sameFile(filepath.Join(dir, name), filepath.Join(r.Out, name))
		if err != nil {
			return nil, err
		}
		if !same {
			changed = append(changed, name)
		}
	}
	for _, name := range changed {
		if err := flush(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	for _, name := range changed {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(r.Out, name)); err != nil {
			return nil, fmt.Errorf("putting %s in place: %w", name, err)
		}
	}
	if len(changed) == 0 {
		return names, nil
	}
	return names, flush(r.Out)
}

// flush waits until a file or directory is on its disk.
func flush(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.Close()
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return f.Close()
}

// stage makes a directory in out that is ours until unlock, and removes those of
// builds that were killed.
func stage(out string) (dir string, unlock func(), err error) {
	entries, err := os.ReadDir(out)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		name := filepath.Join(out, e.Name())
		if !strings.HasPrefix(e.Name(), stagePrefix) || !e.IsDir() {
			continue
		}
		if f, err := lockDir(name); err == nil {
			_ = os.RemoveAll(name) // it may be somebody else's, and is in nobody's way
			f.Close()
		}
	}
	for {
		if dir, err = os.MkdirTemp(out, stagePrefix); err != nil {
			return "", nil, err
		}
		f, err := lockDir(dir)
		switch _, gone := os.Stat(dir); {
		case gone != nil, errors.Is(err, unix.EWOULDBLOCK):
			// Another build took it for one that was left: again.
		case err != nil:
			return dir, func() {}, nil // a file system without locks
		default:
			return dir, func() { f.Close() }, nil
		}
		if err == nil {
			f.Close()
		}
	}
}

// lockDir locks a directory until the file is closed, or the process ends.
func lockDir(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sameFile tells whether old is a file with the bytes of made.
func sameFile(made, old string) (bool, error) {
	new, err := os.Stat(made)
	if err != nil {
		return false, err
	}
	info, err := os.Lstat(old)
	if err != nil || !info.Mode().IsRegular() || info.Size() != new.Size() {
		return false, nil
	}
	if os.SameFile(new, info) {
		return true, nil
	}
	f, err := os.Open(old)
	if err != nil {
		return false, nil // it is replaced
	}
	defer f.Close()
	var whole sparse.File
	whole.PutSource(0, new.Size(), func() (io.ReadCloser, error) { return os.Open(made) })
	return whole.Same(f, info.Size())
}
