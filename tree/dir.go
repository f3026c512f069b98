package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir reads the tree under a directory of this machine. Sockets are left out,
// and so are overlay file systems' marks of deleted files. Extended attributes
// are kept as [Portable] says.
func Dir(root string) (Tree, error) {
	var b Builder
	type id struct{ dev, ino uint64 }
	first := map[id]string{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: p, Err: err}
		}
		e, err := entryOf(p, &st)
		if err != nil || e.Type() == TypeSocket || e.Type() == TypeChar && e.Rdev == 0 {
			return err
		}
		e.Path = filepath.ToSlash(rel)
		key := id{uint64(st.Dev), st.Ino}
		if st.Nlink > 1 && e.Type() != TypeDir {
			if target := first[key]; target != "" {
				return b.Link(e.Path, target)
			}
			first[key] = e.Path
		}
		return b.Put(e, func() (io.ReadCloser, error) { return os.Open(p) })
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree %s: %w", root, err)
	}
	return b.Tree(), nil
}

func entryOf(p string, st *unix.Stat_t) (Entry, error) {
	e := Entry{Mode: st.Mode, UID: st.Uid, GID: st.Gid}
	switch e.Type() {
	case TypeRegular:
		e.Size = st.Size
	case TypeChar, TypeBlock:
		e.Rdev = uint64(st.Rdev)
	case TypeSymlink:
		link, err := os.Readlink(p)
		if err != nil {
			return Entry{}, err
		}
		e.Link = link
		return e, nil
	}
	var err error
	e.Xattrs, err = xattrs(p)
	return e, err
}

// xattrs reads the portable extended attributes of p.
func xattrs(p string) (map[string]string, error) {
	list, err := readSized(func(buf []byte) (int, error) { return unix.Llistxattr(p, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	} else if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: p, Err: err}
	}
	var out map[string]string
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if !Portable(name) {
			continue
		}
		value, err := readSized(func(buf []byte) (int, error) { return unix.Lgetxattr(p, name, buf) })
		if err != nil {
			return nil, &fs.PathError{Op: "getxattr " + name, Path: p, Err: err}
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = string(value)
	}
	return out, nil
}

// readSized calls get for the size it needs, then with a buffer of that size.
func readSized(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = get(buf)
	return buf[:max(n, 0)], err
}

// capability is the attribute with a file's capabilities (capabilities(7)).
const capability = "security.capability"

// Portable tells whether an extended attribute belongs to a file, wherever it
// is kept: capabilities and the user's own do; labels and overlay marks of the
// machine that holds it do not.
func Portable(name string) bool {
	return name == capability ||
		strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}
