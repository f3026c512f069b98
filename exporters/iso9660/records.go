package iso9660

import (
	"encoding/binary"
	"time"
)

const (
	recordHeader  = 33  // bytes of a directory record before its identifier, ECMA-119 9.1
	maxRecord     = 254 // of a record: its length is even, in a byte
	flagDirectory = 1 << 1
	flagMore      = 1 << 7 // multi-extent: not the last record of its file, 9.1.6
)

// records are the directories, one behind the other, each followed by the
// continuation areas of its records: libarchive, which reads forward, needs
// them before the directories below. While they are made, blocks count from the
// first directory; link adds where that is.
type records struct {
	date    [7]byte
	dirs    []byte
	more    []byte // continuation areas of the directory that is being made
	extents []extent
	areas   []area
}

// extent is a directory record whose place is filled in by link.
type extent struct {
	at int // of the record in dirs
	*inode
	section int
}

// area is a continuation area and its CE entry (SUSP 5.1).
type area struct {
	entry        int  // offset of the entry
	more         bool // in more: the entry itself is in a continuation area
	offset, size int  // of the area; in more until follow has been called
}

// follow is told where more is put in dirs.
func (a *area) follow(at int) {
	a.offset += at
	if a.more {
		a.entry += at
	}
}

// directory appends the directory d (ECMA-119 6.8.1).
func (r *records) directory(d *node) {
	start, areas := len(r.dirs), len(r.areas)
	d.lba = int64(start / block)
	self := []entry{posix(d.inode), r.times()}
	if d.parent == d {
		self = append([]entry{sharing()}, append(self, rockRidge())...)
	}
	r.record("\x00", d.inode, 0, self)
	r.record("\x01", d.parent.inode, 0, []entry{posix(d.parent.inode), r.times()})
	for _, n := range d.children {
		id := n.id
		if !n.isDir() {
			id += ";1"
		}
		use := append([]entry{posix(n.inode), r.times()}, names(n.name())...)
		use = append(use, special(&n.entry)...)
		for i := range n.sections() {
			r.record(id, n.inode, i, use)
		}
	}
	r.dirs = pad(r.dirs)
	d.size = int64(len(r.dirs) - start)
	for i := range r.areas[areas:] {
		r.areas[areas+i].follow(len(r.dirs))
	}
	r.dirs = pad(append(r.dirs, r.more...))
	r.more = r.more[:0]
}

// record appends a directory record (ECMA-119 9.1), in the next block if it
// does not fit this one.
func (r *records) record(id string, i *inode, section int, use []entry) {
	head := recordHeader + len(id)
	head += head % 2
	length := head + areaSize(use, maxRecord-head)
	length += length % 2
	if len(r.dirs)%block+length > block {
		r.dirs = pad(r.dirs)
	}
	at := len(r.dirs)
	r.extents = append(r.extents, extent{at, i, section})
	r.dirs = append(r.dirs, make([]byte, head)...)
	b := r.dirs[at:]
	b[0] = byte(length)
	copy(b[18:], r.date[:]) // 9.1.5
	if i.isDir() {
		b[25] = flagDirectory
	}
	if section+1 < i.sections() {
		b[25] |= flagMore
	}
	both16(b[28:], 1) // volume sequence number
	b[32] = byte(len(id))
	copy(b[33:], id)
	r.use(false, use, maxRecord-head)
	if len(r.dirs)%2 == 1 {
		r.dirs = append(r.dirs, 0)
	}
}

// use appends a system use area of at most room bytes to the records, or to
// the continuation areas, and what does not fit to a continuation area of its
// own. No such area crosses a block: Linux does not read it then.
func (r *records) use(more bool, entries []entry, room int) {
	dst := &r.dirs
	if more {
		dst = &r.more
	}
	n := fit(entries, room)
	for _, e := range entries[:n] {
		*dst = append(*dst, e...)
	}
	entries = entries[n:]
	if len(entries) == 0 {
		return
	}
	a := area{entry: len(*dst), more: more, size: areaSize(entries, block)}
	*dst = append(*dst, continuation()...)
	if len(r.more)%block+a.size > block {
		r.more = pad(r.more)
	}
	a.offset = len(r.more)
	r.areas = append(r.areas, a)
	r.use(true, entries, block)
}

// link fills in where everything is: dirs is the block of the first directory,
// empty that of all without contents.
func (r *records) link(dirs, empty int64) {
	for _, a := range r.areas {
		b := r.dirs[a.entry:]
		both32(b[4:], dirs+int64(a.offset/block))
		both32(b[12:], int64(a.offset%block))
		both32(b[20:], int64(a.size))
	}
	for _, e := range r.extents {
		lba, size := e.inode.section(e.section)
		switch {
		case e.isDir():
			lba += dirs
		case size == 0:
			lba = empty
		}
		both32(r.dirs[e.at+2:], lba)
		both32(r.dirs[e.at+10:], size)
	}
}

// pad appends zeros up to the end of a block.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&(block-1))...) }

// both16 and both32 write a number in both byte orders, ECMA-119 7.2.3, 7.3.3.
func both16(b []byte, n int) {
	binary.LittleEndian.PutUint16(b, uint16(n))
	binary.BigEndian.PutUint16(b[2:], uint16(n))
}

func both32(b []byte, n int64) {
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.BigEndian.PutUint32(b[4:], uint32(n))
}

// shortDate is a time in a directory record, ECMA-119 9.1.5.
func shortDate(t time.Time) [7]byte {
	return [7]byte{
		byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()),
		byte(t.Hour()), byte(t.Minute()), byte(t.Second()),
		0, // offset from GMT
	}
}
