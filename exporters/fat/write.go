package fat

import (
	"encoding/binary"

	"github.com/lkx-os/lkx/internal/sparse"
)

// Attributes of directory entries (section 6).
const (
	attrLabel = 0x08
	attrDir   = 0x10
	attrFile  = 0x20
	attrLong  = 0x0f
)

type writer struct {
	g      *geometry
	image  *sparse.File
	ranges map[string]sparse.Run
	stamp  [4]byte
	table  []byte // the file allocation table, as far as it is used
}

// volume places everything: directories first, then files in their order.
func (w *writer) volume(root *node) {
	w.entry(0x0fffff00 | mediaFixed)
	w.entry(0xffffffff)
	if w.g.bits == 32 {
		w.directories(root)
		w.g.rootCluster = root.first
	} else {
		for _, c := range root.children {
			w.directories(c)
		}
	}
	w.files(root)
	w.contents(root, nil)
	w.image.Put(0, w.g.bootSector())
	if w.g.bits == 32 {
		w.image.Put(sector, w.g.info())
		w.image.Put(backup*sector, w.g.bootSector())
		w.image.Put((backup+1)*sector, w.g.info())
	}
	for i := range int64(2) {
		w.image.Put((w.g.reserved+i*w.g.fat)*sector, w.table)
	}
}

// directories gives n, if it is a directory, and those below it their clusters.
func (w *writer) directories(n *node) {
	if n.contents != nil {
		return
	}
	n.first = w.chain(n.own(w.g))
	for _, c := range n.children {
		w.directories(c)
	}
}

// files gives the files below n their clusters.
func (w *writer) files(n *node) {
	for _, c := range n.children {
		if c.contents == nil {
			w.files(c)
			continue
		}
		c.first = w.chain(c.own(w.g))
		if c.first != 0 {
			off := w.g.offset(c.first)
			w.ranges[c.path] = sparse.Run{Off: off, Size: (c.contents.Size() + sector - 1) / sector * sector}
			w.image.PutFile(off, c.contents)
		}
	}
}

// chain takes the next count clusters, and is the first of them; 0 for none.
func (w *writer) chain(count int64) uint32 {
	if count == 0 {
		return 0
	}
	first := uint32(len(w.table) / (w.g.bits / 8))
	for i := range uint32(count) - 1 {
		w.entry(first + i + 1)
	}
	w.entry(0x0fffffff)
	return first
}

// entry appends an entry to the table.
func (w *writer) entry(value uint32) {
	if w.g.bits == 16 {
		w.table = binary.LittleEndian.AppendUint16(w.table, uint16(value))
		return
	}
	w.table = binary.LittleEndian.AppendUint32(w.table, value&0x0fffffff)
}

// contents writes the entries of the directory n and of those below.
func (w *writer) contents(n, parent *node) {
	var b []byte
	off := (w.g.reserved + 2*w.g.fat) * sector // FAT16's root
	if n.path == "" {
		b = w.record(b, w.g.label, attrLabel, 0, 0)
		if w.g.label == "NO NAME    " {
			b = nil // which says that there is none
		}
	} else {
		up := parent.first
		if parent.path == "" {
			up = 0 // the root is cluster 0 here (section 6.5)
		}
		b = w.record(b, ".          ", attrDir, n.first, 0)
		b = w.record(b, "..         ", attrDir, up, 0)
	}
	if n.first != 0 {
		off = w.g.offset(n.first)
	}
	for _, c := range n.children {
		b = append(b, longEntries(c)...)
		if c.contents == nil {
			b = w.record(b, c.short, attrDir, c.first, 0)
			w.contents(c, n)
			continue
		}
		b = w.record(b, c.short, attrFile, c.first, uint32(c.contents.Size()))
	}
	w.image.Put(off, b)
}

// record appends a directory entry (section 6).
func (w *writer) record(b []byte, name string, attr byte, first, size uint32) []byte {
	e := make([]byte, slot)
	le := binary.LittleEndian
	copy(e, name)
	e[11] = attr
	copy(e[14:18], w.stamp[:]) // DIR_CrtTime, DIR_CrtDate
	copy(e[18:20], w.stamp[2:])
	le.PutUint16(e[20:], uint16(first>>16)) // DIR_FstClusHI
	copy(e[22:26], w.stamp[:])              // DIR_WrtTime, DIR_WrtDate
	le.PutUint16(e[26:], uint16(first))     // DIR_FstClusLO
	le.PutUint32(e[28:], size)
	return append(b, e...)
}

// longEntries are the entries with the long name of n, the last part first
// (section 7).
func longEntries(n *node) []byte {
	if n.long == nil {
		return nil
	}
	sum := byte(0)
	for i := range len(n.short) {
		sum = sum>>1 | sum<<7
		sum += n.short[i]
	}
	parts := (len(n.long) + 12) / 13
	out := make([]byte, 0, parts*slot)
	for p := parts; p >= 1; p-- {
		e := make([]byte, slot)
		e[0] = byte(p)
		if p == parts {
			e[0] |= 0x40 // the last
		}
		e[11], e[13] = attrLong, sum
		for i := range 13 {
			at := 1 + 2*i
			switch {
			case i >= 11:
				at = 28 + 2*(i-11)
			case i >= 5:
				at = 14 + 2*(i-5)
			}
			unit := uint16(0xffff)
			if k := (p-1)*13 + i; k < len(n.long) {
				unit = n.long[k]
			} else if k == len(n.long) {
				unit = 0
			}
			binary.LittleEndian.PutUint16(e[at:], unit)
		}
		out = append(out, e...)
	}
	return out
}
