// Package mbr writes a master boot record with its table of up to four primary
// partitions, which no standard defines; UEFI Specification 2.10, 5.2.1, has
// what all systems agree on. Sectors have 512 bytes, positions are those of LBA
// alone: the fields for cylinders, heads and sectors say that they cannot tell.
//
// It refuses logical partitions, and what lies beyond 2 TiB.
package mbr

import (
	"encoding/binary"
	"fmt"

	"github.com/lkx-os/lkx/internal/sparse"
)

// Types of partitions.
const (
	FAT32 = 0x0c // with LBA
	FAT16 = 0x0e // with LBA
	Linux = 0x83
)

// Partition is a primary partition.
type Partition struct {
	Type      byte
	Active    bool
	Off, Size int64 // bytes; multiples of 512
}

// Table is a master boot record.
type Table struct {
	Signature  uint32 // of the disk, by which systems tell it from others
	BootCode   []byte // up to 440 bytes
	Size       int64  // of the disk, in bytes
	Partitions []Partition
}

const (
	sector      = 512
	maxBootCode = 440
	entries     = 446 // offset of the table
	entrySize   = 16
	maxEntries  = 4
	maxSectors  = 1<<32 - 1
)

// Image is the disk with the record alone.
func (t *Table) Image() (*sparse.File, error) {
	if len(t.BootCode) > maxBootCode || len(t.Partitions) > maxEntries {
		return nil, fmt.Errorf("a master boot record holds %d bytes of code and %d partitions, not %d and %d",
			maxBootCode, maxEntries, len(t.BootCode), len(t.Partitions))
	}
	b := make([]byte, sector)
	le := binary.LittleEndian
	copy(b, t.BootCode)
	le.PutUint32(b[440:], t.Signature)
	for i, p := range t.Partitions {
		if p.Off%sector != 0 || p.Size%sector != 0 || p.Off < sector || p.Size <= 0 || p.Off+p.Size > t.Size || (p.Off+p.Size)/sector > maxSectors {
			return nil, fmt.Errorf("partition %d cannot have %d bytes at byte %d of a disk of %d", i+1, p.Size, p.Off, t.Size)
		}
		e := b[entries+i*entrySize:]
		if p.Active {
			e[0] = 0x80
		}
		copy(e[1:], []byte{0xfe, 0xff, 0xff}) // first sector: more than it can say
		e[4] = p.Type
		copy(e[5:], []byte{0xfe, 0xff, 0xff}) // last sector
		le.PutUint32(e[8:], uint32(p.Off/sector))
		le.PutUint32(e[12:], uint32(p.Size/sector))
	}
	b[510], b[511] = 0x55, 0xaa
	f := &sparse.File{}
	f.Put(0, b)
	f.Resize(t.Size)
	return f, nil
}
