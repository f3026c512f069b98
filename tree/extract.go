package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Extract makes t below out, an empty directory: owners, modes, device nodes
// and extended attributes included, so it needs the rights of root. Every file
// gets the time mtime, in seconds since 1970.
func Extract(t Tree, out *os.Root, mtime int64) error {
	x := extractor{t: t, out: out, mtime: time.Unix(mtime, 0), first: map[int]string{}}
	var dirs []Entry
	for e, err := range t.All() {
		if err != nil {
			return err
		}
		if err := x.entry(e); err != nil {
			return fmt.Errorf("making %s: %w", e.Path, err)
		}
		if e.Type() == TypeDir {
			dirs = append(dirs, e)
		}
	}
	// Directories last, innermost first: what is made in one changes its time.
	for _, e := range slices.Backward(dirs) {
		if err := x.time(e.Path); err != nil {
			return err
		}
	}
	return nil
}

type extractor struct {
	t     Tree
	out   *os.Root
	mtime time.Time
	first map[int]string // of each hard link group
}

func (x *extractor) entry(e Entry) error {
	if target := x.first[e.Hard]; e.Hard != 0 && target != "" {
		return x.out.Link(target, e.Path)
	}
	if e.Hard != 0 {
		x.first[e.Hard] = e.Path
	}
	if dir := filepath.Dir(e.Path); dir != "." {
		if err := x.out.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := x.make(e); err != nil {
		return err
	}
	if err := x.out.Lchown(e.Path, int(e.UID), int(e.GID)); err != nil {
		return err
	}
	name := filepath.Join(x.out.Name(), e.Path)
	if e.Type() != TypeSymlink {
		// After the owner: changing that clears set-id bits.
		if err := unix.Fchmodat(unix.AT_FDCWD, name, e.Perm(), 0); err != nil {
			return &fs.PathError{Op: "chmod", Path: name, Err: err}
		}
	}
	for k, v := range e.Xattrs {
		if err := unix.Lsetxattr(name, k, []byte(v), 0); err != nil {
			return &fs.PathError{Op: "setxattr " + k, Path: name, Err: err}
		}
	}
	if e.Type() == TypeDir {
		return nil
	}
	return x.time(e.Path)
}

// make makes the file itself.
func (x *extractor) make(e Entry) error {
	switch e.Type() {
	case TypeDir:
		if err := x.out.Mkdir(e.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case TypeSymlink:
		return x.out.Symlink(e.Link, e.Path)
	case TypeRegular:
		return x.regular(e)
	}
	name := filepath.Join(x.out.Name(), e.Path)
	return unix.Mknod(name, e.Mode, int(e.Rdev))
}

func (x *extractor) regular(e Entry) error {
	in, err := x.t.Open(e.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := x.out.OpenFile(e.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, in); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (x *extractor) time(name string) error {
	ts := unix.NsecToTimespec(x.mtime.UnixNano())
	abs := filepath.Join(x.out.Name(), strings.TrimPrefix(name, "/"))
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, abs, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimes", Path: abs, Err: err}
	}
	return nil
}
