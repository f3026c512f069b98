package iso9660

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

const (
	maxDirs   = 1<<16 - 1 // ECMA-119 9.4.4: a parent's number has 16 bits
	maxName   = 253       // bytes: Linux leaves longer ones out (fs/isofs/rock.c)
	maxTarget = 4095      // of a symbolic link: Linux reads a page (likewise)
)

// inode is what several names can share.
type inode struct {
	entry  tree.Entry // of the first name
	serial uint32     // counts from 1 in tree order, the root first
	nlink  uint32
	lba    int64        // of the first block; a directory's counts from the first directory
	size   int64        // of a directory's extent or a file's contents, in bytes
	data   *sparse.File // of a regular file that is not empty
}

func (i *inode) isDir() bool { return i.entry.Type() == tree.TypeDir }

// sections is how many extents the inode has: each has at most maxSection
// bytes, and all but the last have as many.
func (i *inode) sections() int { return max(1, int((i.size+maxSection-1)/maxSection)) }

// section is the place of one of them.
func (i *inode) section(n int) (lba, size int64) {
	skip := int64(n) * maxSection
	return i.lba + skip/block, min(i.size-skip, maxSection)
}

type node struct {
	*inode
	path     string // in the tree
	id       string // file or directory identifier (ECMA-119 7.5, 7.6), without a version
	parent   *node  // the root is its own
	children []*node
	number   int // of a directory, in the path table
}

func (n *node) name() string { return path.Base(n.path) }

type hierarchy struct {
	dirs  []*node  // in the order of the path table (ECMA-119 6.9.1)
	files []*inode // with contents, in tree order
	names []*node  // of files
}

// read reads t, checks that a volume can hold each entry, and gives names
// their identifiers and directories their numbers.
func read(t tree.Tree) (*hierarchy, error) {
	h := &hierarchy{}
	root := &node{inode: &inode{entry: tree.Entry{Mode: tree.TypeDir | 0o755}, serial: 1, nlink: 2}}
	root.parent = root
	dirs, linked := map[string]*node{".": root}, map[int]*inode{}
	serial := root.serial
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		n := &node{path: e.Path, parent: dirs[path.Dir(e.Path)]}
		if err := check(&e, n); err != nil {
			return nil, fmt.Errorf("placing %s: %w", e.Path, err)
		}
		if n.inode = linked[e.Hard]; n.inode == nil {
			serial++
			n.inode = &inode{entry: e, serial: serial}
			h.add(n, dirs, linked)
		}
		n.nlink++
		n.parent.children = append(n.parent.children, n)
		if n.size > 0 {
			h.names = append(h.names, n)
		}
	}
	return h, h.number(root)
}

// add enters the first name of an inode.
func (h *hierarchy) add(n *node, dirs map[string]*node, linked map[int]*inode) {
	switch e := &n.entry; {
	case n.isDir():
		dirs[e.Path] = n
		n.nlink = 1      // its "."; read counts its name
		n.parent.nlink++ // its ".."
		return
	case e.Type() == tree.TypeRegular && e.Size > 0:
		n.size = e.Size
		h.files = append(h.files, n.inode)
	}
	if n.entry.Hard != 0 {
		linked[n.entry.Hard] = n.inode
	}
}

func check(e *tree.Entry, n *node) error {
	switch {
	case n.parent == nil:
		return errors.New("its directory is not in the tree")
	case len(n.name()) > maxName:
		return fmt.Errorf("the name is longer than the %d bytes Linux reads", maxName)
	case strings.ContainsRune(e.Path, 0):
		return errors.New("there is a NUL in the name")
	case len(e.Xattrs) > 0:
		return errors.New("an ISO 9660 volume cannot hold extended attributes")
	}
	switch e.Type() {
	case tree.TypeDir, tree.TypeFIFO, tree.TypeSocket:
	case tree.TypeRegular:
		if e.Size > maxSections*maxSection {
			return fmt.Errorf("%d bytes are more than the %d extents Linux reads of a file", e.Size, maxSections)
		}
	case tree.TypeSymlink:
		if e.Link == "" || len(e.Link) > maxTarget || strings.ContainsRune(e.Link, 0) {
			return fmt.Errorf("a symbolic link needs a target of 1 to %d bytes without NULs", maxTarget)
		}
	case tree.TypeBlock, tree.TypeChar:
		if _, _, err := device(e.Rdev); err != nil {
			return err
		}
	default:
		return fmt.Errorf("mode %o is of no known type", e.Mode)
	}
	return nil
}

// number lists the directories by depth, the parent's number and identifier.
func (h *hierarchy) number(root *node) error {
	root.id = "\x00" // ECMA-119 7.6.2
	h.dirs = []*node{root}
	for i := 0; i < len(h.dirs); i++ {
		d := h.dirs[i]
		d.number = i + 1
		identify(d.children)
		slices.SortFunc(d.children, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
		for _, n := range d.children {
			if n.isDir() {
				h.dirs = append(h.dirs, n)
			}
		}
	}
	if len(h.dirs) > maxDirs {
		return fmt.Errorf("%d directories are more than the %d of a path table", len(h.dirs), maxDirs)
	}
	return nil
}

// opener opens a file of t and names it in the error.
func opener(t tree.Tree, path string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		f, err := t.Open(path)
		if err != nil {
			return nil, fmt.Errorf("opening %s: %w", path, err)
		}
		return f, nil
	}
}
