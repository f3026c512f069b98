// Package vmdk writes a disk in VMware's stream-optimized form: one file of
// deflated grains ("Virtual Disk Format 5.0", technical note of 2011,
// "Stream-Optimized Compressed Sparse Extents").
//
// Of the layouts that the note allows it writes the one of VMware's own
// open-vmdk, which ESXi and vCenter import: the grain directory and all grain
// tables stand before the grains, without copies and without a footer, and the
// stream ends with an end-of-stream marker. So the tables are written last, by
// seeking back.
//
// It refuses empty disks, disks over 2 TiB, and names that the text descriptor
// cannot hold.
package vmdk

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	sector     = 512
	grainSize  = 64 << 10           // bytes of the disk in one grain
	grainLBAs  = grainSize / sector // the same, in sectors
	tableLen   = 512                // grains in a grain table (numGTEsPerGT)
	tableLBAs  = tableLen * 4 / sector
	maxSize    = 2 << 40 // of an extent, as of all hosted disks
	bufferSize = 1 << 20
)

// Options are what a disk image says about itself.
type Options struct {
	// LongID identifies the contents (ddb.longContentID); its last 4 bytes, big
	// endian, are the content id (CID). Disks that differ must differ in both.
	LongID [16]byte
	// Name is the file's own name, as the extent description has it.
	Name string
	// Workers is how many grains are deflated at a time; 0 is one for each
	// processor. The bytes written do not depend on it.
	Workers int
}

// Capacity is how many bytes long a disk of size bytes is as an image: the note
// wants a multiple of the grain size, 64 KiB (section "Hosted Sparse Extent
// Header", capacity). Write adds zeros.
func Capacity(size int64) int64 { return (size + grainSize - 1) / grainSize * grainSize }

// Write writes disk into w, which is empty, and returns how many bytes the image
// has. Grains are written forward, in the disk's order, those of zeros left out;
// then w is sought to its beginning, once, for headers and tables. 4 bytes are
// kept in memory for each 64 KiB of the disk, holes included.
func Write(ctx context.Context, w io.WriteSeeker, disk *sparse.File, o Options) (int64, error) {
	x, err := newExtent(disk.Size(), o)
	if err != nil {
		return 0, err
	}
	if _, err := w.Seek(x.next*sector, io.SeekStart); err != nil {
		return 0, fmt.Errorf("leaving room for the tables: %w", err)
	}
	x.w = bufio.NewWriterSize(w, bufferSize)
	if err := x.grains(ctx, disk, o.Workers); err != nil {
		return 0, err
	}
	// An end-of-stream marker is a sector of zeros.
	if _, err := x.w.Write(make([]byte, sector)); err != nil {
		return 0, fmt.Errorf("writing the end: %w", err)
	}
	if err := x.w.Flush(); err != nil {
		return 0, fmt.Errorf("writing the end: %w", err)
	}
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("going back to the header: %w", err)
	}
	if _, err := w.Write(x.head); err != nil {
		return 0, fmt.Errorf("writing header and tables: %w", err)
	}
	return (x.next + 1) * sector, nil
}

// extent is the one file of a disk.
type extent struct {
	head   []byte // all sectors before the grains
	tables []byte // the part of head that is the grain tables
	next   int64  // sector where the next grain goes
	w      *bufio.Writer
}

// newExtent lays out what stands before the grains, its grain tables empty.
func newExtent(size int64, o Options) (*extent, error) {
	switch {
	case size == 0:
		return nil, errors.New("the disk is empty")
	case size > maxSize:
		return nil, fmt.Errorf("%d bytes are too many for a VMDK: a disk may have 2 TiB", size)
	}
	text, err := descriptor(Capacity(size)/sector, o)
	if err != nil {
		return nil, err
	}
	grains := Capacity(size) / grainSize
	tables := (grains + tableLen - 1) / tableLen
	tablesAt := directoryAt + (tables*4+sector-1)/sector
	overHead := tablesAt + tables*tableLBAs

	x := &extent{head: make([]byte, overHead*sector), next: overHead}
	putHeader(x.head, grains*grainLBAs, overHead)
	copy(x.head[descriptorAt*sector:], text)
	directory := x.head[directoryAt*sector:]
	for i := range tables {
		binary.LittleEndian.PutUint32(directory[i*4:], uint32(tablesAt+i*tableLBAs))
	}
	x.tables = x.head[tablesAt*sector:]
	return x, nil
}

// add writes one grain's marker and data, padded to whole sectors; without data
// the grain is one of zeros, which has no place in the file.
func (x *extent) add(nr int64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if x.next > math.MaxUint32 {
		return errors.New("the image has over 2 TiB, more than grain tables can address")
	}
	binary.LittleEndian.PutUint32(x.tables[nr*4:], uint32(x.next))
	x.next += int64(len(data) / sector)
	if _, err := x.w.Write(data); err != nil {
		return fmt.Errorf("writing the disk's bytes from %d on: %w", nr*grainSize, err)
	}
	return nil
}
