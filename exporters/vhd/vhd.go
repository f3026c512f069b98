// Package vhd writes a disk as a fixed or dynamic VHD (Microsoft, "Virtual Hard
// Disk Image Format Specification", version 1.0). Sections named below are those
// of that document. All numbers are big endian.
//
// Readers take the disk's size either from the footer's Current Size or, as
// Virtual PC did, from its geometry, which can express few sizes. The geometry
// written here is the largest there is: of such a disk QEMU, Hyper-V and Azure
// take the Current Size, which is exact.
//
// It refuses disks larger than 2040 GiB, the most that a dynamic disk can
// address and QEMU and Hyper-V open, and sizes that are not whole sectors.
package vhd

import (
	"encoding/binary"
	"fmt"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	sector     = 512
	fixedAlign = 1 << 20
	maxSize    = 2040 << 30
	year2000   = 946684800 // 2000-01-01 00:00 UTC, in seconds since 1970

	// Disk Type, in "Hard Disk Footer Format".
	typeFixed   = 2
	typeDynamic = 3

	blockSize    = 2 << 20 // the only size that Microsoft's software opens
	headerOffset = sector
	headerSize   = 1024
	tableOffset  = headerOffset + headerSize
	absent       = 1<<32 - 1 // BAT entry of a block that is a hole
	none         = 1<<64 - 1 // Data Offset where nothing follows
)

// Options are what a VHD holds besides the disk.
type Options struct {
	UUID  [16]byte // Unique Id of the footer, in the order in which UUIDs are printed
	Epoch int64    // Time Stamp of the footer, in seconds since 1970; before 2000 counts as 2000
}

// Fixed is the disk itself and, after it, a footer of 512 bytes. The disk's size
// is rounded up to whole MiB with zeros: Azure takes only fixed disks of whole
// MiB, the footer not counted, and from 20 MiB on. Nothing of the disk is read.
func Fixed(disk *sparse.File, o Options) (*sparse.File, error) {
	size := (disk.Size() + fixedAlign - 1) / fixedAlign * fixedAlign
	footer, err := footer(size, typeFixed, none, o)
	if err != nil {
		return nil, err
	}
	var image sparse.File
	image.PutFile(0, disk)
	image.Put(size, footer)
	return &image, nil
}

// Dynamic is the blocks of 2 MiB of the disk that are not holes, after a copy of
// the footer, a header and the block allocation table, and before the footer.
// Nothing of the disk is read.
func Dynamic(disk *sparse.File, o Options) (*sparse.File, error) {
	footer, err := footer(disk.Size(), typeDynamic, headerOffset, o)
	if err != nil {
		return nil, err
	}
	// One entry for each block and no more, or Azure's upload refuses the disk.
	blocks := (disk.Size() + blockSize - 1) / blockSize
	table := make([]uint32, (blocks*4+sector-1)/sector*sector/4)
	for i := range table {
		table[i] = absent
	}
	// Sector bitmap: all of a block's sectors have been written.
	bitmap := make([]byte, blockSize/sector/8)
	for i := range bitmap {
		bitmap[i] = 0xff
	}

	var image sparse.File
	off := tableOffset + int64(len(table))*4
	for _, r := range disk.Runs(blockSize) {
		for at := r.Off; at < r.Off+r.Size; at += blockSize {
			table[at/blockSize] = uint32(off / sector)
			image.Put(off, bitmap)
			image.PutFile(off+int64(len(bitmap)), disk.Section(at, blockSize))
			off += int64(len(bitmap)) + blockSize
		}
	}
	image.Put(off, footer)
	image.Put(0, footer)
	image.Put(headerOffset, header(uint32(blocks)))
	bat, err := binary.Append(nil, binary.BigEndian, table)
	if err != nil {
		return nil, fmt.Errorf("encoding the block allocation table: %w", err)
	}
	image.Put(tableOffset, bat)
	return &image, nil
}

// footer is "Hard Disk Footer Format", of a disk of size bytes. next is its Data
// Offset.
func footer(size int64, diskType uint32, next uint64, o Options) ([]byte, error) {
	switch {
	case size <= 0 || size%sector != 0:
		return nil, fmt.Errorf("a disk of %d bytes cannot be a VHD: it needs whole sectors of %d bytes", size, sector)
	case size > maxSize:
		return nil, fmt.Errorf("a disk of %d bytes is too large for a VHD: it may have 2040 GiB", size)
	case o.Epoch > year2000+1<<32-1:
		return nil, fmt.Errorf("time %d does not fit a VHD", o.Epoch)
	}
	be := binary.BigEndian
	f := append([]byte(nil), "conectix"...)
	f = be.AppendUint32(f, 2)       // 8: Features, a bit that is always set
	f = be.AppendUint32(f, 0x10000) // 12: File Format Version 1.0
	f = be.AppendUint64(f, next)
	f = be.AppendUint32(f, uint32(max(o.Epoch, year2000)-year2000))
	f = append(f, "lkx "...)        // 28: Creator Application
	f = be.AppendUint32(f, 0x10000) // 32: Creator Version
	f = append(f, "Wi2k"...)        // 36: Creator Host OS: Windows, or else Macintosh
	f = be.AppendUint64(f, uint64(size))
	f = be.AppendUint64(f, uint64(size)) // 48: Current Size, after Original Size
	f = be.AppendUint16(f, 65535)        // 56: Disk Geometry: cylinders, heads, sectors
	f = append(f, 16, 255)
	f = be.AppendUint32(f, diskType)
	f = be.AppendUint32(f, 0) // 64: Checksum
	f = append(f, o.UUID[:]...)
	f = append(f, make([]byte, sector-len(f))...) // 84: Saved State, Reserved
	be.PutUint32(f[64:], checksum(f))
	return f, nil
}

// header is "Dynamic Disk Header Format", of a disk without parent.
func header(blocks uint32) []byte {
	be := binary.BigEndian
	h := append([]byte(nil), "cxsparse"...)
	h = be.AppendUint64(h, none)
	h = be.AppendUint64(h, tableOffset)
	h = be.AppendUint32(h, 0x10000) // 24: Header Version 1.0
	h = be.AppendUint32(h, blocks)  // 28: Max Table Entries
	h = be.AppendUint32(h, blockSize)
	h = append(h, make([]byte, headerSize-len(h))...) // 36: Checksum, Parent…
	be.PutUint32(h[36:], checksum(h))
	return h
}

// checksum is the one's complement of the sum of all bytes, the checksum's own
// being zero.
func checksum(data []byte) uint32 {
	sum := uint32(0)
	for _, b := range data {
		sum += uint32(b)
	}
	return ^sum
}
