package iso9660

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/lkx-os/lkx/internal/sparse"
)

// Platforms of El Torito, figure 2; EFI's is from the UEFI specification,
// 13.3.2.1.
const (
	BIOS byte = 0
	EFI  byte = 0xef
)

// Boot is a boot image, loaded without emulation.
type Boot struct {
	Platform byte   // BIOS or EFI
	Path     string // of a regular file in the tree

	// LoadSectors is how many sectors of 512 bytes firmware loads; 0 is the
	// whole file. An EFI image of 32 MiB or more has no number: a 0 is written,
	// which EDK II takes as all up to the end of the volume.
	LoadSectors uint16

	// Table asks for a boot information table in bytes 8 to 63 of the file, as
	// ISOLINUX and GRUB want it.
	Table bool
}

const (
	bootEntry = 32                    // bytes of an entry of the catalog
	maxBoot   = block / bootEntry / 2 // in one block: each has an entry and a header

	tableAt   = 8  // of a boot information table in its file
	tableSize = 56 // bytes, the last 40 of them zero
)

// bootRecord is the volume descriptor that names the catalog (El Torito,
// figure 7).
func (l *layout) bootRecord() []byte {
	b := descriptor(bootRecord)
	copy(b[7:], "EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(b[71:], uint32(l.catalog))
	return b
}

// bootCatalog is the boot catalog (El Torito, 2.0): a validation entry and the
// default one, then a section for each other.
func (l *layout) bootCatalog() []byte {
	b := make([]byte, 0, block)
	for i, boot := range l.o.Boot {
		head := make([]byte, bootEntry)
		head[1] = boot.Platform
		switch {
		case i == 0: // validation entry, 2.1
			head[0] = 1
			head[30], head[31] = 0x55, 0xaa
			var sum uint16
			for at := 0; at < bootEntry; at += 2 {
				sum += binary.LittleEndian.Uint16(head[at:])
			}
			binary.LittleEndian.PutUint16(head[28:], -sum)
		case i < len(l.o.Boot)-1: // section header, 2.3
			head[0], head[2] = 0x90, 1
		default: // the last one
			head[0], head[2] = 0x91, 1
		}
		e := make([]byte, bootEntry) // 2.2, 2.4; media type 0 is no emulation
		e[0] = 0x88                  // bootable
		f := l.h.byPath(boot.Path)
		binary.LittleEndian.PutUint16(e[6:], boot.sectors(f.size))
		binary.LittleEndian.PutUint32(e[8:], uint32(f.lba))
		b = append(append(b, head...), e...)
	}
	return pad(b)
}

func (b *Boot) sectors(size int64) uint16 {
	if b.LoadSectors > 0 {
		return b.LoadSectors
	}
	if all := (size + 511) / 512; all < 1<<16 {
		return uint16(all)
	}
	return 0
}

// tables checks the boot images, and puts their tables into those that want
// one. The files must have their places.
func (l *layout) tables() error {
	done := map[*inode]bool{}
	for _, b := range l.o.Boot {
		f := l.h.byPath(b.Path)
		if f == nil {
			return fmt.Errorf("boot image %s: there is no such file with contents", b.Path)
		}
		if b.Platform != EFI && b.sectors(f.size) == 0 {
			return fmt.Errorf("boot image %s: %d bytes are too many to load whole", b.Path, f.size)
		}
		if !b.Table || done[f] {
			continue
		}
		done[f] = true
		patched, err := l.withTable(f)
		if err != nil {
			return fmt.Errorf("boot image %s: %w", b.Path, err)
		}
		f.data = patched
	}
	return nil
}

// withTable is f's contents with a boot information table: the blocks of the
// primary volume descriptor and of the file, the file's length and the sum of
// its words of 32 bits from byte 64 on.
func (l *layout) withTable(f *inode) (*sparse.File, error) {
	const rest = tableAt + tableSize
	if f.size < rest || f.size > maxSection {
		return nil, fmt.Errorf("a file of %d bytes cannot have a boot information table", f.size)
	}
	in, err := f.data.Section(rest, f.size-rest).Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sum, err := checksum(in)
	if err != nil {
		return nil, fmt.Errorf("reading it for its checksum: %w", err)
	}
	table := make([]byte, tableSize)
	for i, field := range []uint32{systemArea, uint32(f.lba), uint32(f.size), sum} {
		binary.LittleEndian.PutUint32(table[4*i:], field)
	}
	out := &sparse.File{}
	out.PutFile(0, f.data.Section(0, tableAt))
	out.Put(tableAt, table)
	out.PutFile(rest, f.data.Section(rest, f.size-rest))
	return out, nil
}

// checksum adds up little-endian words of 32 bits, the last filled up with
// zeros.
func checksum(r io.Reader) (sum uint32, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, buf)
		clear(buf[n:])
		for at := 0; at < n; at += 4 {
			sum += binary.LittleEndian.Uint32(buf[at:])
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF { // ReadFull's own, never wrapped
			return sum, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// byPath is the file with contents of that name.
func (h *hierarchy) byPath(path string) *inode {
	for _, n := range h.names {
		if n.path == path {
			return n.inode
		}
	}
	return nil
}
