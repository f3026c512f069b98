// Package cpio writes a tree as a cpio archive of the "newc" format, as the
// Linux kernel reads it for its initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst).
//
// It refuses what the format cannot hold: extended attributes, files of 4 GiB
// or more, names longer than the kernel reads, sockets.
package cpio

import (
	"bufio"
	"fmt"
	"io"

	"github.com/lkx-os/lkx/tree"
)

const (
	magic   = "070701"     // c_magic, "newc" without checksums
	trailer = "TRAILER!!!" // name of the entry that ends an archive
	align   = 4            // of names, with their header, and of contents
	maxName = 4096         // PATH_MAX, with the NUL
	maxSize = 1<<32 - 1    // c_filesize is 8 hexadecimal digits
)

// Write writes t to w as one archive, its length a multiple of 4. Every file
// has the time mtime, in seconds since 1970. Inode numbers count from 1 in tree
// order; the contents of a file with several names stand at its last name.
func Write(w io.Writer, t tree.Tree, mtime int64) error {
	if mtime < 0 || mtime > maxSize {
		return fmt.Errorf("time %d does not fit a cpio archive", mtime)
	}
	names := map[int]int{}
	for e, err := range t.All() {
		if err != nil {
			return err
		}
		if e.Hard != 0 {
			names[e.Hard]++
		}
	}
	a := &archive{w: bufio.NewWriterSize(w, 128<<10), mtime: mtime, names: names, left: map[int]int{}, inodes: map[int]uint32{}}
	for e, err := range t.All() {
		if err != nil {
			return err
		}
		if err := a.entry(e, t); err != nil {
			return fmt.Errorf("writing %s: %w", e.Path, err)
		}
	}
	a.field(record{nlink: 1, name: trailer})
	if err := a.w.Flush(); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

type archive struct {
	w      *bufio.Writer
	n      int64 // bytes written
	mtime  int64
	next   uint32         // last inode number given
	names  map[int]int    // of each hard link group
	left   map[int]int    // names of each group already written
	inodes map[int]uint32 // of each group
}

// record is the header of one entry, its fields named as in the format.
type record struct {
	ino, mode, uid, gid, nlink uint32
	mtime, filesize            int64
	rdevmajor, rdevminor       uint32
	name                       string
}

func (a *archive) entry(e tree.Entry, t tree.Tree) error {
	switch {
	case len(e.Xattrs) > 0:
		return fmt.Errorf("a cpio archive cannot hold extended attributes")
	case e.Size > maxSize:
		return fmt.Errorf("%d bytes are too many for a cpio archive: a file may have 4 GiB - 1", e.Size)
	case len(e.Path) >= maxName:
		return fmt.Errorf("the name is longer than %d bytes", maxName-1)
	case e.Type() == tree.TypeSocket:
		return fmt.Errorf("a cpio archive of the kernel cannot hold sockets")
	}
	r := record{
		mode: e.Mode, uid: e.UID, gid: e.GID, nlink: 1, mtime: a.mtime, name: e.Path,
		rdevmajor: tree.Major(e.Rdev), rdevminor: tree.Minor(e.Rdev),
	}
	last := a.number(e, &r)
	switch e.Type() {
	case tree.TypeSymlink:
		r.filesize = int64(len(e.Link))
		a.field(r)
		a.string(e.Link)
		a.pad()
	case tree.TypeRegular:
		if last {
			r.filesize = e.Size
		}
		a.field(r)
		if r.filesize > 0 {
			return a.contents(e, t)
		}
	default:
		a.field(r)
	}
	return nil
}

// number gives r its inode number and link count, and tells whether e is the
// last name of its file.
func (a *archive) number(e tree.Entry, r *record) bool {
	if e.Hard == 0 {
		a.next++
		r.ino = a.next
		if e.Type() == tree.TypeDir {
			r.nlink = 2
		}
		return true
	}
	if a.inodes[e.Hard] == 0 {
		a.next++
		a.inodes[e.Hard] = a.next
	}
	a.left[e.Hard]++
	r.ino, r.nlink = a.inodes[e.Hard], uint32(a.names[e.Hard])
	return a.left[e.Hard] == a.names[e.Hard]
}

func (a *archive) contents(e tree.Entry, t tree.Tree) error {
	f, err := t.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(a.w, io.LimitReader(f, e.Size))
	a.n += n
	if err != nil {
		return err
	}
	if n != e.Size {
		return fmt.Errorf("%d bytes of contents, expected %d: %w", n, e.Size, io.ErrUnexpectedEOF)
	}
	a.pad()
	return nil
}

// field writes a header and its name. Errors stay in the buffered writer.
func (a *archive) field(r record) {
	n, _ := fmt.Fprintf(a.w, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", magic,
		r.ino, r.mode, r.uid, r.gid, r.nlink, r.mtime, r.filesize,
		0, 0, // c_devmajor, c_devminor
		r.rdevmajor, r.rdevminor, len(r.name)+1,
		0) // c_check
	a.n += int64(n)
	a.string(r.name)
	a.string("\x00")
	a.pad()
}

func (a *archive) string(s string) {
	n, _ := a.w.WriteString(s)
	a.n += int64(n)
}

func (a *archive) pad() {
	for a.n%align != 0 {
		a.string("\x00")
	}
}
