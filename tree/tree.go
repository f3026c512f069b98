// Package tree is a read-only root file system: names, owners, modes, extended
// attributes, links and contents, in one fixed order.
//
// Every tree is canonical: two trees of the same content list the same entries
// in the same order, whatever they were made from. Times are not part of a tree;
// the writer of an artifact chooses one time for all of it.
package tree

import (
	"io"
	"iter"
	"strings"
)

// Type bits of [Entry.Mode], as in inode(7).
const (
	TypeMask    = 0o170000
	TypeSocket  = 0o140000
	TypeSymlink = 0o120000
	TypeRegular = 0o100000
	TypeBlock   = 0o060000
	TypeDir     = 0o040000
	TypeChar    = 0o020000
	TypeFIFO    = 0o010000
	PermMask    = 0o7777 // permissions with set-id and sticky bits
)

// Entry is one name.
type Entry struct {
	Path   string            // slash separated, no leading slash, never "." or empty
	Mode   uint32            // st_mode of inode(7): type and permissions
	UID    uint32            // owner
	GID    uint32            // group
	Rdev   uint64            // device number (see [Makedev]) of a character or block device
	Size   int64             // bytes of a regular file
	Link   string            // target, of a symbolic link
	Xattrs map[string]string // extended attributes by full name; nil when there are none

	// Hard is 0, or the same positive number for all names of one inode with
	// several names. The first name in tree order has the lowest path; all
	// names carry equal metadata and contents.
	Hard int

	Origin *Origin // what brought it; nil when that is not known
}

// Origin tells what brought an entry into a built system.
type Origin struct {
	Source   string // an image's reference, or a name for what no image brought
	Location string // where the manifest asks for it: "services[0]"
}

// Type is the type bits of e.Mode.
func (e *Entry) Type() uint32 { return e.Mode & TypeMask }

// Perm is the permission bits of e.Mode, with set-id and sticky bits.
func (e *Entry) Perm() uint32 { return e.Mode & PermMask }

// Tree is a root file system. The root directory itself is not listed.
//
// All lists parents before their children and siblings in byte order of their
// names: the order of a depth-first walk. See [Compare].
type Tree interface {
	All() iter.Seq2[Entry, error]
	// Open opens a regular file by the Path All gave.
	Open(path string) (io.ReadCloser, error)
}

// Compare orders two paths as [Tree] lists them: like strings.Compare, with
// the slash below every other byte.
func Compare(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return strings.Compare(a[i:i+1], b[i:i+1])
	}
	return len(a) - len(b)
}

// Makedev packs a device number as Linux's dev_t of 64 bits (makedev(3)).
func Makedev(major, minor uint32) uint64 {
	return uint64(minor)&0xff | uint64(major)&0xfff<<8 |
		uint64(minor)&^0xff<<12 | uint64(major)&^0xfff<<32
}

// Major is the major number of a device number.
func Major(dev uint64) uint32 { return uint32(dev>>8&0xfff | dev>>32&^uint64(0xfff)) }

// Minor is the minor number of a device number.
func Minor(dev uint64) uint32 { return uint32(dev&0xff | dev>>12&^uint64(0xff)) }
