package squashfs

import (
	"fmt"
	"path"

	"github.com/lkx-os/lkx/tree"
)

// inode is one inode, whatever number of names it has.
type inode struct {
	entry  tree.Entry // of its first name
	nlink  uint32
	number uint32 // from 1
	names  []name // of a directory, in byte order
	parent *inode // of a directory

	data *contents // of a regular file that is not empty

	written bool
	ref     uint64 // where it is in the inode table, once it is written
}

// name is an entry of a directory.
type name struct {
	text  string
	inode *inode
}

// contents are those of one or more files.
type contents struct {
	start  int64    // of the first block
	blocks []uint32 // sizes, as they stand in an inode
	sparse int64    // bytes in blocks that are not stored
	frag   uint32   // number of the fragment block; noFragment for none
	offset uint32   // in it
}

const (
	maxName   = 255
	maxTarget = 4095 // Linux reads a page
)

// read makes inodes of the tree's entries, in its order, the root first.
func read(t tree.Tree) ([]*inode, error) {
	root := &inode{entry: tree.Entry{Mode: tree.TypeDir | 0o755}, nlink: 2, number: 1}
	list := []*inode{root}
	dirs := map[string]*inode{".": root}
	linked := map[int]*inode{}
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		parent := dirs[path.Dir(e.Path)]
		if parent == nil {
			return nil, fmt.Errorf("%s: its directory is not in the tree", e.Path)
		}
		if err := check(&e); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		n := linked[e.Hard]
		if n == nil || e.Hard == 0 {
			n = &inode{entry: e, number: uint32(len(list) + 1)}
			list = append(list, n)
			if e.Hard != 0 {
				linked[e.Hard] = n
			}
		}
		n.nlink++
		if e.Type() == tree.TypeDir {
			n.nlink++
			parent.nlink++
			n.parent = parent
			dirs[e.Path] = n
		}
		// The order of the tree is the byte order of the names in each directory.
		parent.names = append(parent.names, name{path.Base(e.Path), n})
	}
	return list, nil
}

func check(e *tree.Entry) error {
	switch e.Type() {
	case tree.TypeRegular, tree.TypeDir, tree.TypeFIFO, tree.TypeSocket:
	case tree.TypeSymlink:
		if e.Link == "" || len(e.Link) > maxTarget {
			return fmt.Errorf("the target of a symbolic link has %d bytes; it can have 1 to %d", len(e.Link), maxTarget)
		}
	case tree.TypeBlock, tree.TypeChar:
		if tree.Major(e.Rdev) >= 1<<12 || tree.Minor(e.Rdev) >= 1<<20 {
			return fmt.Errorf("the device number %d:%d does not fit in 32 bits", tree.Major(e.Rdev), tree.Minor(e.Rdev))
		}
	default:
		return fmt.Errorf("mode %o is of no known type", e.Mode)
	}
	if len(path.Base(e.Path)) > maxName {
		return fmt.Errorf("the name is longer than %d bytes", maxName)
	}
	return nil
}
