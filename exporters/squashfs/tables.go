package squashfs

import (
	"errors"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/lkx-os/lkx/tree"
)

const (
	metaSize   = 8192    // bytes of a metadata block before compression ("Packing Metadata")
	metaStored = 1 << 15 // in its header: it is not compressed
)

// metadata is a sequence of records, packed into blocks.
type metadata struct {
	z      *zstd.Encoder
	blocks []byte   // whole blocks, as they are written
	rest   []byte   // of the block that is being filled
	starts []uint64 // of each block in blocks
}

// add appends a record, which can cross blocks.
func (m *metadata) add(record []byte) {
	m.rest = append(m.rest, record...)
	for len(m.rest) >= metaSize {
		m.pack(m.rest[:metaSize])
		m.rest = append(m.rest[:0], m.rest[metaSize:]...)
	}
}

// flush ends the last block.
func (m *metadata) flush() {
	if len(m.rest) > 0 {
		m.pack(m.rest)
		m.rest = nil
	}
}

func (m *metadata) pack(b []byte) {
	m.starts = append(m.starts, uint64(len(m.blocks)))
	header := uint16(0)
	out := m.z.EncodeAll(b, nil)
	if len(out) >= len(b) {
		header, out = metaStored, b
	}
	m.blocks = le.AppendUint16(m.blocks, header|uint16(len(out)))
	m.blocks = append(m.blocks, out...)
}

// ref is where the next record goes: where its block begins, and its place in it.
func (m *metadata) ref() uint64 { return uint64(len(m.blocks))<<16 | uint64(len(m.rest)) }

// tables are what stands behind the contents of files.
type tables struct {
	epoch      uint32
	inodes     metadata
	dirs       metadata
	ids        []uint32
	idIndex    map[uint32]uint16
	xattrs     xattrs
	inodeCount int
}

// writeTables writes all tables, in the order in which Linux wants them.
func writeTables(w *writer, inodes []*inode, frags []*placed, epoch int64) (*super, error) {
	z, err := compressor(metaSize)
	if err != nil {
		return nil, err
	}
	t := &tables{
		epoch: uint32(epoch), inodes: metadata{z: z}, dirs: metadata{z: z}, idIndex: map[uint32]uint16{},
		xattrs: xattrs{pairs: metadata{z: z}, index: map[string]uint32{}}, inodeCount: len(inodes),
	}
	if err := t.directory(inodes[0]); err != nil {
		return nil, err
	}
	s := &super{inodes: uint32(len(inodes)), root: inodes[0].ref, frags: uint32(len(frags)), ids: uint16(len(t.ids)), flags: flagDuplicates}
	t.inodes.flush()
	t.dirs.flush()
	s.inodeTable = uint64(w.pos)
	if _, err := w.Write(t.inodes.blocks); err != nil {
		return nil, err
	}
	s.dirTable = uint64(w.pos)
	if _, err := w.Write(t.dirs.blocks); err != nil {
		return nil, err
	}
	table := metadata{z: z}
	for _, f := range frags {
		table.add(le.AppendUint64(nil, uint64(f.start)))
		table.add(le.AppendUint32(nil, f.size))
		table.add(make([]byte, 4))
	}
	if s.fragTable, err = lookup(w, &table, nil); err != nil {
		return nil, err
	}
	table = metadata{z: z}
	for _, id := range t.ids {
		table.add(le.AppendUint32(nil, id))
	}
	if s.idTable, err = lookup(w, &table, nil); err != nil {
		return nil, err
	}
	if s.xattrTable, err = t.xattrs.write(w); err != nil {
		return nil, err
	}
	if s.xattrTable == noTable {
		s.flags |= flagNoXattrs
	}
	s.used = w.pos
	return s, nil
}

// lookup writes a table with the list of where its blocks are behind it, and
// header between them. It returns where the header, or the list, is ("Fragment
// Table", "ID Table").
func lookup(w *writer, m *metadata, header []byte) (uint64, error) {
	m.flush()
	start := uint64(w.pos)
	at := start + uint64(len(m.blocks))
	out := append(m.blocks, header...)
	for _, b := range m.starts {
		out = le.AppendUint64(out, start+b)
	}
	_, err := w.Write(out)
	return at, err
}

// id is the index of a user's or a group's number.
func (t *tables) id(n uint32) (uint16, error) {
	i, ok := t.idIndex[n]
	if !ok {
		if len(t.ids) == math.MaxUint16 {
			return 0, errors.New("the files have more than 65535 different owners and groups")
		}
		i = uint16(len(t.ids))
		t.idIndex[n] = i
		t.ids = append(t.ids, n)
	}
	return i, nil
}

// directory writes the inodes of all that is in d, and then d itself.
func (t *tables) directory(d *inode) error {
	for _, n := range d.names {
		if n.inode.entry.Type() == tree.TypeDir {
			if err := t.directory(n.inode); err != nil {
				return err
			}
		} else if err := t.inode(n.inode); err != nil {
			return err
		}
	}
	return t.inode(d)
}
