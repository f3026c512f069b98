// Package treetest has a tree with everything that a file system's writer can
// get wrong, and compares a directory with it, in tests.
package treetest

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lkx-os/lkx/tree"
)

// Put places an entry with its contents.
func Put(t testing.TB, b *tree.Builder, e tree.Entry, contents string) {
	t.Helper()
	if e.Type() == tree.TypeRegular {
		e.Size = int64(len(contents))
	}
	if err := b.Put(e, tree.Bytes(contents)); err != nil {
		t.Fatal(err)
	}
}

// Random is size bytes that do not compress and depend on nothing but seed.
func Random(seed, size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // never fails
	return string(b)
}

// Sample is a tree: files of odd sizes around those of blocks, sparse and equal
// ones, many in one directory, deep directories, links, devices, attributes.
func Sample(t testing.TB) tree.Tree {
	t.Helper()
	var b tree.Builder
	const file = tree.TypeRegular | 0o640
	put := func(e tree.Entry, contents string) { t.Helper(); Put(t, &b, e, contents) }
	for i, size := range []int{
		0, 1, 31, 32, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8191, 8192,
		1<<17 - 1, 1 << 17, 1<<17 + 1, 1 << 20, 1<<20 + 5,
	} {
		put(tree.Entry{Path: fmt.Sprintf("sizes/%d", size), Mode: file, UID: uint32(i)}, Random(i, size))
	}
	put(tree.Entry{Path: "text", Mode: file}, strings.Repeat("some text that repeats\n", 50_000))
	put(tree.Entry{Path: "zeros", Mode: file}, strings.Repeat("\x00", 300_000))
	put(tree.Entry{Path: "hole", Mode: file}, "start"+strings.Repeat("\x00", 3<<17)+"end")
	for _, name := range []string{"equal/1", "equal/2", "equal/3"} {
		put(tree.Entry{Path: name + "-small", Mode: file}, Random(1000, 3000))
		put(tree.Entry{Path: name + "-large", Mode: file}, Random(1001, 400_000))
	}
	put(tree.Entry{Path: "su", Mode: tree.TypeRegular | 0o4755, UID: 70000, GID: 80000}, "set-id")
	put(tree.Entry{Path: "tmp", Mode: tree.TypeDir | 0o1777, GID: 5}, "")
	for i := range 10_000 {
		put(tree.Entry{Path: fmt.Sprintf("many/file-%d-%s", i, strings.Repeat("x", i%40)), Mode: file}, fmt.Sprint(i))
	}
	put(tree.Entry{Path: strings.Repeat("deep/", 60) + "end", Mode: file}, "deep")
	put(tree.Entry{Path: strings.Repeat("n", 255), Mode: file}, "long name")
	put(tree.Entry{Path: "dev/null", Mode: tree.TypeChar | 0o666, Rdev: tree.Makedev(1, 3)}, "")
	put(tree.Entry{Path: "dev/disk", Mode: tree.TypeBlock | 0o660, Rdev: tree.Makedev(259, 70000)}, "")
	put(tree.Entry{Path: "fifo", Mode: tree.TypeFIFO | 0o600}, "")
	put(tree.Entry{Path: "link", Mode: tree.TypeSymlink | 0o777, Link: "su"}, "")
	put(tree.Entry{Path: "longlink", Mode: tree.TypeSymlink | 0o777, Link: strings.Repeat("l/", 2047) + "x"}, "")
	for i := range 3 {
		put(tree.Entry{Path: fmt.Sprintf("attrs%d", i), Mode: file, Xattrs: map[string]string{
			"user.a": "1", "user.empty": "", "trusted.x": Random(i/2, 300),
			// CAP_NET_RAW, effective and permitted (struct vfs_cap_data).
			"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		}}, "with attributes")
	}
	put(tree.Entry{Path: "bigattr", Mode: file, Xattrs: map[string]string{"user.big": Random(3, 9000)}}, Random(4, 5000))
	put(tree.Entry{Path: "first", Mode: file}, "shared")
	for _, name := range []string{"second", "tmp/third"} {
		if err := b.Link(name, "first"); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

// Compare compares a tree with a directory that it was extracted into. Owners
// and devices are compared for root alone; set-id bits and extended attributes,
// which some tools lose when they extract, never.
func Compare(t testing.TB, want tree.Tree, dir string) {
	t.Helper()
	left := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		left[path] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(left, dir)
	for e, err := range want.All() {
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, e.Path)
		delete(left, name)
		if err := compare(want, &e, name); err != nil {
			t.Errorf("%s: %v", e.Path, err)
		}
	}
	for name := range left {
		t.Errorf("%s is too many", name)
	}
}

func compare(want tree.Tree, e *tree.Entry, name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	const setID = 0o6000
	st := info.Sys().(*syscall.Stat_t)
	if e.Type() != st.Mode&tree.TypeMask || os.Getuid() == 0 &&
		(st.Mode&^setID != e.Mode&^setID || st.Uid != e.UID || st.Gid != e.GID || info.Mode()&fs.ModeDevice != 0 && st.Rdev != e.Rdev) {
		return fmt.Errorf("mode %o, owner %d:%d, device %d, want %+v", st.Mode, st.Uid, st.Gid, st.Rdev, e)
	}
	switch e.Type() {
	case tree.TypeSymlink:
		if got, err := os.Readlink(name); err != nil || got != e.Link {
			return fmt.Errorf("it leads to %q, want %q (%w)", got, e.Link, err)
		}
	case tree.TypeRegular:
		got, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := want.Open(e.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		var contents bytes.Buffer
		if _, err := contents.ReadFrom(f); err != nil || !bytes.Equal(got, contents.Bytes()) {
			return fmt.Errorf("%d bytes, not the same as the %d it should have (%w)", len(got), contents.Len(), err)
		}
	}
	return nil
}
