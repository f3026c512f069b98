package squashfs

import (
	"fmt"
	"math"

	"github.com/lkx-os/lkx/tree"
)

// Types of inodes ("Inode Table"); with extended added, the larger form.
const (
	typeDir     = 1
	typeFile    = 2
	typeSymlink = 3
	typeBlock   = 4
	typeChar    = 5
	typeFIFO    = 6
	typeSocket  = 7
	extended    = 7
)

var types = map[uint32]uint16{
	tree.TypeDir: typeDir, tree.TypeRegular: typeFile, tree.TypeSymlink: typeSymlink, tree.TypeBlock: typeBlock,
	tree.TypeChar: typeChar, tree.TypeFIFO: typeFIFO, tree.TypeSocket: typeSocket,
}

// inode writes n, unless another of its names was here before.
func (t *tables) inode(n *inode) error {
	if n.written {
		return nil
	}
	n.written = true
	body, kind, err := t.body(n)
	if err != nil {
		return fmt.Errorf("%s: %w", n.entry.Path, err)
	}
	uid, err := t.id(n.entry.UID)
	if err != nil {
		return err
	}
	gid, err := t.id(n.entry.GID)
	if err != nil {
		return err
	}
	b := le.AppendUint16(nil, kind)
	b = le.AppendUint16(b, uint16(n.entry.Perm()))
	b = le.AppendUint16(b, uid)
	b = le.AppendUint16(b, gid)
	b = le.AppendUint32(b, t.epoch)
	b = le.AppendUint32(b, n.number)
	n.ref = t.inodes.ref()
	t.inodes.add(append(b, body...))
	return nil
}

// body is what follows the fields that all inodes have, and the type.
func (t *tables) body(n *inode) ([]byte, uint16, error) {
	x, err := t.xattrs.set(n.entry.Xattrs)
	if err != nil {
		return nil, 0, err
	}
	kind := types[n.entry.Type()]
	switch kind {
	case typeDir:
		b, more := t.dirBody(n, x)
		return b, kind + more, nil
	case typeFile:
		b, more := fileBody(n, x)
		return b, kind + more, nil
	}
	b := le.AppendUint32(nil, n.nlink)
	switch kind {
	case typeSymlink:
		b = le.AppendUint32(b, uint32(len(n.entry.Link)))
		b = append(b, n.entry.Link...)
	case typeBlock, typeChar:
		major, minor := tree.Major(n.entry.Rdev), tree.Minor(n.entry.Rdev)
		b = le.AppendUint32(b, minor&0xff|major<<8|minor&^0xff<<12)
	}
	if x == noXattrs {
		return b, kind, nil
	}
	return le.AppendUint32(b, x), kind + extended, nil
}

// fileBody is that of a regular file ("File Inodes").
func fileBody(n *inode, x uint32) (b []byte, more uint16) {
	c := n.data
	if c == nil {
		c = &contents{frag: noFragment}
	}
	if n.nlink == 1 && x == noXattrs && c.sparse == 0 && n.entry.Size <= math.MaxUint32 && c.start <= math.MaxUint32 {
		b = le.AppendUint32(b, uint32(c.start))
		b = le.AppendUint32(b, c.frag)
		b = le.AppendUint32(b, c.offset)
		b = le.AppendUint32(b, uint32(n.entry.Size))
	} else {
		more = extended
		b = le.AppendUint64(b, uint64(c.start))
		b = le.AppendUint64(b, uint64(n.entry.Size))
		b = le.AppendUint64(b, uint64(min(c.sparse, n.entry.Size-1))) // Linux wants less than all
		b = le.AppendUint32(b, n.nlink)
		b = le.AppendUint32(b, c.frag)
		b = le.AppendUint32(b, c.offset)
		b = le.AppendUint32(b, x)
	}
	for _, size := range c.blocks {
		b = le.AppendUint32(b, size)
	}
	return b, more
}

// dirBody writes the listing of a directory and makes its inode ("Directory
// Inodes").
func (t *tables) dirBody(n *inode, x uint32) (b []byte, more uint16) {
	ref := t.dirs.ref()
	size, index := t.listing(n)
	size += 3 // "." and ".." count so much
	parent := uint32(t.inodeCount + 1)
	if n.parent != nil {
		parent = n.parent.number
	}
	start, offset := uint32(ref>>16), uint16(ref)
	if x == noXattrs && index == nil && size <= math.MaxUint16 {
		b = le.AppendUint32(b, start)
		b = le.AppendUint32(b, n.nlink)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, offset)
		return le.AppendUint32(b, parent), 0
	}
	b = le.AppendUint32(b, n.nlink)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, start)
	b = le.AppendUint32(b, parent)
	b = le.AppendUint16(b, uint16(len(index)))
	b = le.AppendUint16(b, offset)
	b = le.AppendUint32(b, x)
	for _, i := range index {
		b = le.AppendUint32(b, uint32(i.offset))
		b = le.AppendUint32(b, i.start)
		b = le.AppendUint32(b, uint32(len(i.name)-1))
		b = append(b, i.name...)
	}
	return b, extended
}

// indexed is an entry of a directory's index: lookups begin there.
type indexed struct {
	offset int    // in the listing
	start  uint32 // of its metadata block
	name   string // the first that stands there
}

const maxRun = 256 // entries behind one header

// listing writes the names in n as runs with a header each ("Directory Table").
// A run begins anew where a metadata block does, for the index, and that is how
// lookups in large directories stay fast.
func (t *tables) listing(n *inode) (size int, index []indexed) {
	block := t.dirs.ref() >> 16
	for names := n.names; len(names) > 0; {
		first := names[0].inode
		at := t.dirs.ref()
		if at>>16 != block {
			block = at >> 16
			index = append(index, indexed{size, uint32(block), names[0].text})
		}
		room := metaSize - int(at&0xffff)
		count, length := 0, 12
		for count < len(names) && count < maxRun && length < room {
			m := names[count].inode
			if diff := int64(m.number) - int64(first.number); m.ref>>16 != first.ref>>16 || diff != int64(int16(diff)) {
				break
			}
			length += 8 + len(names[count].text)
			count++
		}
		b := le.AppendUint32(nil, uint32(count-1))
		b = le.AppendUint32(b, uint32(first.ref>>16))
		b = le.AppendUint32(b, first.number)
		for _, m := range names[:count] {
			b = le.AppendUint16(b, uint16(m.inode.ref))
			b = le.AppendUint16(b, uint16(m.inode.number-first.number))
			b = le.AppendUint16(b, types[m.inode.entry.Type()])
			b = le.AppendUint16(b, uint16(len(m.text)-1))
			b = append(b, m.text...)
		}
		t.dirs.add(b)
		size += len(b)
		names = names[count:]
	}
	return size, index
}
