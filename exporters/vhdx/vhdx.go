// Package vhdx writes a disk as a dynamic VHDX (Microsoft, [MS-VHDX] "Virtual
// Hard Disk v2 (VHDX) File Format"). Section numbers below are those of that
// document. All numbers are little endian. Sectors are 512 bytes for the guest,
// 4096 bytes physically; the log is empty; there is no parent.
//
// It refuses disks larger than 64 TiB, and sizes that are not whole sectors.
package vhdx

import (
	"fmt"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	logicalSector  = 512
	physicalSector = 4096
	maxSize        = 64 << 40

	// Offsets of the header section's parts (2.2), and of what follows. All but
	// the blocks have a fixed place; the table's length varies.
	header1Offset  = 64 * kib
	header2Offset  = 128 * kib
	regions1Offset = 192 * kib
	regions2Offset = 256 * kib
	logOffset      = 1 * mib  // 2.3, 1 MiB
	metadataOffset = 2 * mib  // 2.6, 1 MiB
	tableOffset    = 3 * mib  // 2.5, the block allocation table
	itemsOffset    = 64 * kib // of the metadata items, in their region

	minBlock     = 1 * mib
	maxBlock     = 256 * mib
	chunkSectors = 1 << 23 // sectors in the chunk that a sector bitmap block describes (2.4)

	// States of blocks (2.5.1.1), in the low bits of their table entries. The
	// contents of a block that is "not present" are undefined; of a block that
	// is "zero", they are not, and its entry has no offset.
	blockZero    = 2
	blockPresent = 6
)

// Options identify the image. GUIDs are in the order in which they are printed.
type Options struct {
	FileWrite [16]byte // FileWriteGuid: the file's contents, metadata included (2.2.2)
	DataWrite [16]byte // DataWriteGuid: the disk's contents (2.2.2)
	Page83    [16]byte // the SCSI identifier the guest sees; unique to the disk (2.6.2.3)
}

// New is the blocks of the disk that are not holes, after all metadata. Nothing
// of the disk is read. Blocks are 1 MiB, as Microsoft advises for Linux' file
// systems, or as large as it takes for a table of 1 MiB: 2 MiB from some 128 GiB on.
func New(disk *sparse.File, o Options) (*sparse.File, error) {
	size := disk.Size()
	if size <= 0 || size%logicalSector != 0 {
		return nil, fmt.Errorf("a disk of %d bytes cannot be a VHDX: it needs whole sectors of %d bytes", size, logicalSector)
	}
	if size > maxSize {
		return nil, fmt.Errorf("a disk of %d bytes is too large for a VHDX: it may have 64 TiB", size)
	}
	block := blockSize(size)
	table := make([]byte, tableEntries(size, block)*8)
	// 2.5: after the entries of each chunk's blocks comes one for its sector
	// bitmap, which only disks with a parent have.
	set := func(i int64, entry uint64) {
		le.PutUint64(table[(i+i/chunkRatio(block))*8:], entry)
	}
	for i := range ceil(size, block) {
		set(i, blockZero)
	}

	var image sparse.File
	tableLength := ceil(int64(len(table)), mib) * mib
	off := tableOffset + tableLength
	for _, r := range disk.Runs(block) {
		for i := range r.Size / block {
			set(r.Off/block+i, uint64(off+i*block)|blockPresent) // offsets are whole MiB: bit 20 counts them
		}
		image.PutFile(off, disk.Section(r.Off, r.Size))
		off += r.Size
	}
	image.Put(0, fileType())
	image.Put(header1Offset, header(1, o))
	image.Put(header2Offset, header(2, o))
	image.Put(regions1Offset, regionTable(tableLength))
	image.Put(regions2Offset, regionTable(tableLength))
	image.Put(metadataOffset, metadata(size, block, o))
	image.Put(tableOffset, table)
	image.Resize(off)
	return &image, nil
}

func blockSize(size int64) int64 {
	block := int64(minBlock)
	for block < maxBlock && tableEntries(size, block)*8 > mib {
		block *= 2
	}
	return block
}

// chunkRatio is how many blocks there are to a sector bitmap block (2.4).
func chunkRatio(block int64) int64 { return chunkSectors * logicalSector / block }

// tableEntries is how many entries the block allocation table has (2.5).
func tableEntries(size, block int64) int64 {
	blocks := ceil(size, block)
	return blocks + (blocks-1)/chunkRatio(block)
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }
