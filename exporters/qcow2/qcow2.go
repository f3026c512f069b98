// Package qcow2 writes a disk as a qcow2 image of version 3
// (QEMU, docs/interop/qcow2.txt): clusters of 64 KiB, reference counts of 16
// bits, no backing file, no snapshots, no encryption. All metadata stands before
// the data. Sections named below are those of that document.
//
// It refuses sizes that are not whole sectors of 512 bytes, and disks larger
// than 1 PiB, for which QEMU takes neither the L1 table nor the counts.
package qcow2

import (
	"encoding/binary"
	"fmt"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	clusterBits  = 16
	clusterSize  = 1 << clusterBits
	l2Entries    = clusterSize / 8 // in one L2 table
	blockEntries = clusterSize / 2 // reference counts in one block
	tableEntries = clusterSize / 8 // in one cluster of the refcount table
	sector       = 512
	maxSize      = 1 << 50
	headerLength = 104     // "Header": up to header_length, no compression type
	copied       = 1 << 63 // "Cluster mapping": the cluster's count is exactly one
)

// New is the image of disk: clusters that are holes in the disk are not
// allocated, and read as zeros. Nothing of the disk is read.
func New(disk *sparse.File) (*sparse.File, error) {
	l, err := plan(disk)
	if err != nil {
		return nil, err
	}
	first := l.metadata() / clusterSize
	entries, counts := make([]uint64, l.data), make([]uint16, first+l.data)
	for i := range entries {
		entries[i] = copied | uint64(first+int64(i))*clusterSize
	}
	for i := range counts {
		counts[i] = 1
	}
	image := l.image(entries, counts)
	image.PutFile(l.metadata(), l.packed(disk))
	return image, nil
}

// layout says what stands where, in clusters: header, refcount table, refcount
// blocks, L1 table, L2 tables, data.
type layout struct {
	size   int64        // of the disk, in bytes
	runs   []sparse.Run // of the disk that may have data
	l2     []int64      // the L1 entries that have an L2 table, ascending
	l1     int64        // entries of the L1 table
	data   int64        // clusters of the runs
	blocks int64        // refcount blocks
}

func plan(disk *sparse.File) (*layout, error) {
	l := &layout{size: disk.Size(), runs: disk.Runs(clusterSize)}
	if l.size <= 0 || l.size%sector != 0 {
		return nil, fmt.Errorf("a disk of %d bytes cannot be a qcow2 image: it needs whole sectors of %d bytes", l.size, sector)
	}
	if l.size > maxSize {
		return nil, fmt.Errorf("a disk of %d bytes is too large for a qcow2 image: it may have 1 PiB", l.size)
	}
	l.l1 = ceil(l.size, clusterSize*l2Entries)
	l.each(func(_, cluster int64) {
		if i := cluster / l2Entries; len(l.l2) == 0 || l.l2[len(l.l2)-1] != i {
			l.l2 = append(l.l2, i)
		}
		l.data++
	})
	// The blocks count themselves, too.
	for {
		n := ceil(l.metadata()/clusterSize+l.data, blockEntries)
		if n == l.blocks {
			return l, nil
		}
		l.blocks = n
	}
}

// each calls f for the i-th cluster that may have data.
func (l *layout) each(f func(i, cluster int64)) {
	i := int64(0)
	for _, r := range l.runs {
		for c := r.Off / clusterSize; c < (r.Off+r.Size)/clusterSize; c++ {
			f(i, c)
			i++
		}
	}
}

// packed is the disk's clusters that may have data, one after another.
func (l *layout) packed(disk *sparse.File) *sparse.File {
	var out sparse.File
	for _, r := range l.runs {
		out.PutFile(out.Size(), disk.Section(r.Off, r.Size))
	}
	return &out
}

// The offsets of the parts, in bytes.

func (l *layout) refTable() int64  { return clusterSize }
func (l *layout) refBlocks() int64 { return l.refTable() + l.refTableClusters()*clusterSize }
func (l *layout) l1Table() int64   { return l.refBlocks() + l.blocks*clusterSize }
func (l *layout) l2Tables() int64  { return l.l1Table() + ceil(l.l1, l2Entries)*clusterSize }
func (l *layout) metadata() int64  { return l.l2Tables() + int64(len(l.l2))*clusterSize }

func (l *layout) refTableClusters() int64 { return ceil(l.blocks, tableEntries) }

// image is the metadata of an image: entries are the L2 entries of the
// clusters of the runs, counts the reference counts of the image's clusters
// from its beginning.
func (l *layout) image(entries []uint64, counts []uint16) *sparse.File {
	var image sparse.File
	image.Put(0, l.header())
	table := make([]uint64, l.blocks)
	for i := range table {
		table[i] = uint64(l.refBlocks()) + uint64(i)*clusterSize
	}
	image.Put(l.refTable(), bigEndian(table))
	image.Put(l.refBlocks(), bigEndian(counts))

	l1, l2 := make([]uint64, l.l1), make([]uint64, int64(len(l.l2))*l2Entries)
	for i, entry := range l.l2 {
		l1[entry] = copied | uint64(l.l2Tables()) + uint64(i)*clusterSize
	}
	at := int64(0) // the L2 table of the cluster
	l.each(func(i, cluster int64) {
		if l.l2[at] != cluster/l2Entries {
			at++
		}
		l2[at*l2Entries+cluster%l2Entries] = entries[i]
	})
	image.Put(l.l1Table(), bigEndian(l1))
	image.Put(l.l2Tables(), bigEndian(l2))
	image.Resize(l.metadata())
	return &image
}

// header is "Header", and the end of the header extensions.
func (l *layout) header() []byte {
	be := binary.BigEndian
	h := append([]byte(nil), "QFI\xfb"...)
	h = be.AppendUint32(h, 3)           // 4: version
	h = be.AppendUint64(h, 0)           // 8: backing_file_offset
	h = be.AppendUint32(h, 0)           // 16: backing_file_size
	h = be.AppendUint32(h, clusterBits) // 20
	h = be.AppendUint64(h, uint64(l.size))
	h = be.AppendUint32(h, 0)            // 32: crypt_method
	h = be.AppendUint32(h, uint32(l.l1)) // 36: l1_size
	h = be.AppendUint64(h, uint64(l.l1Table()))
	h = be.AppendUint64(h, uint64(l.refTable())) // 48: refcount_table_offset
	h = be.AppendUint32(h, uint32(l.refTableClusters()))
	h = be.AppendUint32(h, 0) // 60: nb_snapshots
	h = be.AppendUint64(h, 0) // 64: snapshots_offset
	h = be.AppendUint64(h, 0) // 72: incompatible_features
	h = be.AppendUint64(h, 0) // 80: compatible_features
	h = be.AppendUint64(h, 0) // 88: autoclear_features
	h = be.AppendUint32(h, 4) // 96: refcount_order, 2^4 bits
	h = be.AppendUint32(h, headerLength)
	return be.AppendUint64(h, 0) // extension of type 0 and length 0: the end
}

func bigEndian[T uint16 | uint64](values []T) []byte {
	out, err := binary.Append(nil, binary.BigEndian, values)
	if err != nil {
		panic(err) // numbers always encode
	}
	return out
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }
