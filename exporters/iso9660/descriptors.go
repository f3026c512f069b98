package iso9660

import (
	"encoding/binary"
	"strings"
	"time"
)

// Volume descriptor types, ECMA-119 8.1.1.
const (
	bootRecord    = 0
	primary       = 1
	setTerminator = 255
)

// metadata is all that stands between the system area and the first file.
func (l *layout) metadata() []byte {
	l.recs.link(l.dirs, l.empty)
	out := l.primary(l.recs.dirs[:recordHeader+1])
	if len(l.o.Boot) > 0 {
		out = append(out, l.bootRecord()...)
	}
	out = append(out, descriptor(setTerminator)...)
	out = append(out, l.paths(binary.LittleEndian)...)
	out = append(out, l.paths(binary.BigEndian)...)
	out = append(out, l.recs.dirs...)
	if len(l.o.Boot) > 0 {
		out = append(out, l.bootCatalog()...)
	}
	return out
}

// descriptor is a volume descriptor without its contents, ECMA-119 8.1.
func descriptor(kind byte) []byte {
	b := make([]byte, block)
	b[0] = kind
	copy(b[1:], "CD001")
	b[6] = 1 // version
	return b
}

// primary is the primary volume descriptor, ECMA-119 8.4. root is the record
// of the root directory without its system use area.
func (l *layout) primary(root []byte) []byte {
	b := descriptor(primary)
	field := func(off, size int, s string) {
		copy(b[off:], s+strings.Repeat(" ", size-len(s)))
	}
	field(8, 32, "LINUX")    // system identifier
	field(40, 32, l.o.Label) // volume identifier
	both32(b[80:], l.blocks) // volume space size
	both16(b[120:], 1)       // volume set size
	both16(b[124:], 1)       // volume sequence number
	both16(b[128:], block)   // logical block size
	both32(b[132:], int64(l.pathTable))
	binary.LittleEndian.PutUint32(b[140:], uint32(l.lTable))
	binary.BigEndian.PutUint32(b[148:], uint32(l.mTable))
	copy(b[156:], root)
	b[156] = byte(len(root))
	field(190, 4*128+3*37, "") // volume set, publisher, preparer, application; three files
	date := longDate(l.when)
	copy(b[813:], date)                             // creation
	copy(b[830:], date)                             // modification
	copy(b[847:], strings.Repeat("0", len(date)-1)) // expiration: none
	copy(b[864:], date)                             // effective
	b[881] = 1                                      // file structure version
	return b
}

// longDate is a time in a volume descriptor, ECMA-119 8.4.26.1: hundredths of
// seconds, and the offset from GMT.
func longDate(t time.Time) string { return t.Format("20060102150405") + "00\x00" }

// paths is a path table (ECMA-119 6.9, 9.4): type L in little endian, type M in
// big endian.
func (l *layout) paths(order binary.AppendByteOrder) []byte {
	var b []byte
	for _, d := range l.h.dirs {
		b = append(b, byte(len(d.id)), 0)
		b = order.AppendUint32(b, uint32(l.dirs+d.lba))
		b = order.AppendUint16(b, uint16(d.parent.number))
		b = append(b, d.id...)
		b = append(b, make([]byte, len(d.id)%2)...)
	}
	return pad(b)
}

// pathRecordSize is the length of d's record in a path table.
func pathRecordSize(d *node) int { return 8 + len(d.id) + len(d.id)%2 }
