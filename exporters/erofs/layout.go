package erofs

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/tree"
)

// inode is one inode, whatever number of names it has.
type inode struct {
	entry    tree.Entry // of its first name
	names    []*name    // of a directory: in byte order, with "." and ".."
	nlink    uint32
	number   uint32 // from 1
	extended bool
	xattrs   []byte // as they stand behind the inode
	length   int64  // of the contents, in bytes
	inline   int64  // bytes of them that stand behind the inode: the last ones
	block    int64  // first of those of the rest, counted from the first of all contents
	off      int64  // of the inode, in bytes
}

// name is an entry of a directory.
type name struct {
	text  string
	inode *inode
}

// layout is where everything stands.
type layout struct {
	inodes    []*inode // in the order of the tree, the root first
	members   []int    // how many inodes begin in each block
	dataStart int64    // block
	blocks    int64    // of the whole file system

	vacant [blockSize/slotSize + 1][]int64 // blocks by how many slots are free at their ends
	kept   int                             // how many these are
	data   int64                           // blocks of contents
}

// maxKept is how many blocks are kept open for small inodes: as many are in
// memory while the file system is written.
const maxKept = 1024

// layOut reads the tree and gives everything its place.
func layOut(t tree.Tree) (*layout, error) {
	l := &layout{}
	if err := l.read(t); err != nil {
		return nil, err
	}
	l.members = []int{0}
	l.vacate(0, superOffset+superSize)
	for i, n := range l.inodes {
		n.number = uint32(i + 1)
		if err := l.measure(n); err != nil {
			return nil, fmt.Errorf("%s: %w", n.path(), err)
		}
		l.place(n)
	}
	l.dataStart = int64(len(l.members))
	l.blocks = l.dataStart + l.data
	if l.blocks > maxBlocks {
		return nil, fmt.Errorf("an erofs of %d blocks is too large", l.blocks)
	}
	if l.inodes[0].off/slotSize > math.MaxUint16 {
		return nil, errors.New("the root directory's inode is too far behind")
	}
	return l, nil
}

// read makes inodes of the tree's entries.
func (l *layout) read(t tree.Tree) error {
	root := &inode{entry: tree.Entry{Mode: tree.TypeDir | 0o755}, nlink: 2}
	root.names = []*name{{".", root}, {"..", root}}
	l.inodes = []*inode{root}
	dirs := map[string]*inode{".": root}
	linked := map[int]*inode{}
	for e, err := range t.All() {
		if err != nil {
			return err
		}
		parent := dirs[path.Dir(e.Path)]
		if parent == nil {
			return fmt.Errorf("%s: its directory is not in the tree", e.Path)
		}
		n := linked[e.Hard]
		if n == nil || e.Hard == 0 {
			n = &inode{entry: e}
			l.inodes = append(l.inodes, n)
			if e.Hard != 0 {
				linked[e.Hard] = n
			}
		}
		n.nlink++
		if e.Type() == tree.TypeDir {
			n.nlink++
			parent.nlink++
			n.names = []*name{{".", n}, {"..", parent}}
			dirs[e.Path] = n
		}
		parent.names = append(parent.names, &name{path.Base(e.Path), n})
	}
	for _, d := range dirs {
		slices.SortFunc(d.names, func(a, b *name) int { return strings.Compare(a.text, b.text) })
	}
	return nil
}

// path is n's, for people.
func (n *inode) path() string {
	if n.entry.Path == "" {
		return "the root directory"
	}
	return n.entry.Path
}

const maxName = 255 // EROFS_NAME_LEN

// measure finds out how long n's parts are.
func (l *layout) measure(n *inode) error {
	e := &n.entry
	switch e.Type() {
	case tree.TypeRegular:
		n.length = e.Size
	case tree.TypeDir:
		n.length = n.dirSize()
	case tree.TypeSymlink:
		n.length = int64(len(e.Link))
		if e.Link == "" || len(e.Link) >= blockSize {
			return fmt.Errorf("the target of a symbolic link has %d bytes; it can have 1 to %d", len(e.Link), blockSize-1)
		}
	case tree.TypeBlock, tree.TypeChar:
		if tree.Major(e.Rdev) >= 1<<12 || tree.Minor(e.Rdev) >= 1<<20 {
			return fmt.Errorf("the device number %d:%d does not fit in 32 bits", tree.Major(e.Rdev), tree.Minor(e.Rdev))
		}
	case tree.TypeFIFO, tree.TypeSocket:
	default:
		return fmt.Errorf("mode %o is of no known type", e.Mode)
	}
	if len(path.Base(e.Path)) > maxName {
		return fmt.Errorf("the name is longer than %d bytes", maxName)
	}
	n.extended = n.nlink > math.MaxUint16 || e.UID > math.MaxUint16 || e.GID > math.MaxUint16 || n.length > math.MaxUint32
	var err error
	if n.xattrs, err = encodeXattrs(e.Xattrs); err != nil {
		return err
	}
	tail := n.length % blockSize
	if n.size()+tail <= blockSize {
		n.inline = tail
	}
	n.block = l.data
	l.data += (n.length - n.inline + blockSize - 1) / blockSize
	return nil
}

// size is how many bytes n takes among the inodes.
func (n *inode) size() int64 {
	fixed := int64(compactSize)
	if n.extended {
		fixed = extendedSize
	}
	return fixed + int64(len(n.xattrs)) + n.inline
}

// place gives n a place: in the block that it fills best, or in a new one.
func (l *layout) place(n *inode) {
	slots := int((n.size() + slotSize - 1) / slotSize)
	for free := slots; free < len(l.vacant); free++ {
		if list := l.vacant[free]; len(list) > 0 {
			block := list[0]
			l.vacant[free] = list[1:]
			l.kept--
			l.put(n, block, blockSize-int64(free)*slotSize)
			return
		}
	}
	block := int64(len(l.members))
	for range (n.size() + blockSize - 1) / blockSize {
		l.members = append(l.members, 0)
	}
	l.put(n, block, 0)
}

// put places n at byte off of a block.
func (l *layout) put(n *inode, block, off int64) {
	n.off = block*blockSize + off
	l.members[block]++
	l.vacate(block, off+n.size())
}

// vacate notes that a block is free from byte off on.
func (l *layout) vacate(block, off int64) {
	free := (blockSize - off) / slotSize
	if free < compactSize/slotSize { // also behind inodes of several blocks
		return
	}
	l.vacant[free] = append(l.vacant[free], block)
	if l.kept++; l.kept <= maxKept {
		return
	}
	for i, list := range l.vacant { // the fullest gets no more
		if len(list) > 0 {
			l.vacant[i] = list[1:]
			l.kept--
			return
		}
	}
}
