// Package fat writes FAT16 and FAT32 volumes ("Microsoft Extensible Firmware
// Initiative FAT32 File System Specification" 1.03, sections named below), laid
// out without reading a file: every file is contiguous.
//
// It is our own as the one Go library that writes FAT makes volumes that
// fsck.fat complains of, and is slow for large files. It refuses files of 4 GiB,
// names that FAT cannot hold, and names that differ by case alone. There is no
// FAT12: a volume has at least 4,100 clusters, 2 MiB.
package fat

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/lkx-os/lkx/internal/sparse"
)

// File is one file of a volume.
type File struct {
	Path     string // slash separated, no leading slash; directories on the way are made
	Contents *sparse.File
}

// Options say what a volume is like.
type Options struct {
	Size   int64  // bytes; 0 is as large as the files need
	Align  int64  // the size is rounded up to a multiple of this many bytes; 0 is 512
	Label  string // volume label, up to 11 characters of ASCII, no lower case
	ID     uint32 // volume serial number
	Hidden uint32 // sectors of 512 bytes before the volume, on a disk with partitions
	Epoch  int64  // the time of every file, in seconds since 1970; FAT knows 1980 to 2107
}

// Volume is a volume that is laid out.
type Volume struct {
	Image *sparse.File
	Bits  int // 16 or 32

	ranges map[string]sparse.Run
}

// Range is where the contents of a file are in the image. It begins at a
// multiple of 512, and is rounded up to one: zeros follow. The range of an empty
// file, or one that is not there, is empty.
func (v *Volume) Range(path string) sparse.Run { return v.ranges[path] }

const (
	sector       = 512
	slot         = 32 // bytes of a directory entry
	maxFile      = math.MaxUint32
	mediaFixed   = 0xf8
	dataAlign    = 8     // sectors, of the first cluster
	rootSlots    = 512   // of a FAT16 root directory, at least
	least16      = 4100  // clusters; from 4,085 it is FAT16, and well clear of it by advice of section 3.5
	most16       = 65508 // to 65,524
	least32      = 65541 // from 65,525
	most32       = 0x0ffffff5
	usualCluster = 8 // sectors, of FAT32
)

// geometry is how a volume is divided; all numbers but clusters are sectors.
type geometry struct {
	bits            int
	cluster         int64
	reserved, fat   int64
	root            int64 // FAT16's root directory
	total, clusters int64
	hidden, id      uint32
	label           string
	rootCluster     uint32 // FAT32's root directory
	used            int64  // clusters
}

// New lays out a volume with files, in their order.
func New(files []File, o Options) (*Volume, error) {
	root, err := newTree(files)
	if err != nil {
		return nil, err
	}
	label, err := shortLabel(o.Label)
	if err != nil {
		return nil, err
	}
	g, err := fit(root, o)
	if err != nil {
		return nil, err
	}
	g.hidden, g.id, g.label = o.Hidden, o.ID, label
	w := &writer{g: g, image: &sparse.File{}, ranges: map[string]sparse.Run{}, stamp: dosTime(o.Epoch), table: make([]byte, 0, 4096)}
	w.volume(root)
	w.image.Resize(g.total * sector)
	return &Volume{Image: w.image, Bits: g.bits, ranges: w.ranges}, nil
}

// fit chooses the kind of volume and its clusters: the first kind that fits a
// volume of a given size, else the one that makes the smallest volume.
func fit(root *node, o Options) (*geometry, error) {
	if o.Size%sector != 0 {
		return nil, fmt.Errorf("a volume of %d bytes is no multiple of %d", o.Size, sector)
	}
	align := max(o.Align, sector)
	var best *geometry
	var size int64 // of best, in bytes
	for _, g := range candidates(root.slots(true)) {
		g.used = root.clusters(g)
		if g.used > g.most() {
			continue
		}
		need := g.size(max(g.used, g.least())) * sector
		need = (need + align - 1) / align * align
		if g.divide(max(need, o.Size) / sector); g.clusters > g.most() {
			continue
		}
		if best == nil || need < size {
			best, size = g, need
		}
		if need <= o.Size {
			return g, nil
		}
	}
	switch {
	case best == nil:
		return nil, fmt.Errorf("the files do not fit any FAT volume")
	case o.Size != 0:
		return nil, fmt.Errorf("a volume of %d bytes is too small: its files need %d", o.Size, size)
	}
	return best, nil
}

// candidates are the kinds of volumes, the best first: the cluster size of FAT32
// that others use, where the volume is large enough, then smaller clusters,
// FAT16, and larger ones, for what needs them.
func candidates(slots int64) []*geometry {
	var out []*geometry
	add := func(bits int, cluster int64) {
		g := &geometry{bits: bits, cluster: cluster}
		g.reserved = 1
		if bits == 32 {
			g.reserved = 32
		} else {
			g.root = (max(slots, rootSlots)*slot + sector - 1) / sector
		}
		out = append(out, g)
	}
	for c := int64(usualCluster); c >= 1; c /= 2 {
		add(32, c)
	}
	add(16, 1)
	for c := int64(2 * usualCluster); c <= 64; c *= 2 {
		add(32, c)
	}
	return out
}

func (g *geometry) least() int64 {
	if g.bits == 32 {
		return least32
	}
	return least16
}

func (g *geometry) most() int64 {
	if g.bits == 32 {
		return most32
	}
	return most16
}

// fatSize is how many sectors a table for so many clusters has.
func (g *geometry) fatSize(clusters int64) int64 {
	return ((clusters+2)*int64(g.bits/8) + sector - 1) / sector
}

// size is how many sectors a volume with so many clusters has.
func (g *geometry) size(clusters int64) int64 {
	return g.start(g.fatSize(clusters)) + clusters*g.cluster
}

// start is the first sector of the first cluster, aligned by more reserved ones.
func (g *geometry) start(fat int64) int64 {
	n := g.reserved + 2*fat + g.root
	return (n + dataAlign - 1) / dataAlign * dataAlign
}

// divide makes a volume of total sectors.
func (g *geometry) divide(total int64) {
	g.total = total
	clusters := func(fat int64) int64 { return (total - g.start(fat)) / g.cluster }
	g.fat = g.fatSize(clusters(0)) // enough, and more than is needed
	for g.fat > 1 && g.fatSize(clusters(g.fat-1)) < g.fat {
		g.fat--
	}
	g.clusters = clusters(g.fat)
	g.reserved += g.start(g.fat) - (g.reserved + 2*g.fat + g.root)
}

// offset is where a cluster begins, in bytes.
func (g *geometry) offset(cluster uint32) int64 {
	return (g.reserved + 2*g.fat + g.root + int64(cluster-2)*g.cluster) * sector
}

// bootSector is the volume's first sector (sections 3.1 to 3.3).
func (g *geometry) bootSector() []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	copy(b[0:], []byte{0xeb, 0xfe, 0x90}) // BS_jmpBoot: a loop, there is nothing to boot
	copy(b[3:], "MSWIN4.1")               // BS_OEMName, as is advised
	le.PutUint16(b[11:], sector)          // BPB_BytsPerSec
	b[13] = byte(g.cluster)               // BPB_SecPerClus
	le.PutUint16(b[14:], uint16(g.reserved))
	b[16] = 2                 // BPB_NumFATs
	b[21] = mediaFixed        // BPB_Media
	le.PutUint16(b[24:], 63)  // BPB_SecPerTrk
	le.PutUint16(b[26:], 255) // BPB_NumHeads
	le.PutUint32(b[28:], g.hidden)
	ext := b[36:]
	if g.bits == 16 {
		le.PutUint16(b[17:], uint16(g.root*sector/slot)) // BPB_RootEntCnt
		le.PutUint16(b[22:], uint16(g.fat))              // BPB_FATSz16
	} else {
		le.PutUint32(b[36:], uint32(g.fat)) // BPB_FATSz32
		le.PutUint32(b[44:], g.rootCluster) // BPB_RootClus
		le.PutUint16(b[48:], 1)             // BPB_FSInfo
		le.PutUint16(b[50:], backup)        // BPB_BkBootSec
		ext = b[64:]
	}
	if g.bits == 16 && g.total <= math.MaxUint16 {
		le.PutUint16(b[19:], uint16(g.total)) // BPB_TotSec16
	} else {
		le.PutUint32(b[32:], uint32(g.total)) // BPB_TotSec32
	}
	ext[0] = 0x80 // BS_DrvNum
	ext[2] = 0x29 // BS_BootSig: the next three are there
	le.PutUint32(ext[3:], g.id)
	copy(ext[7:18], g.label)
	copy(ext[18:26], fmt.Sprintf("FAT%d   ", g.bits))
	b[510], b[511] = 0x55, 0xaa
	return b
}

// backup is the sector of FAT32's second boot sector.
const backup = 6

// info is FAT32's FSInfo sector (section 5).
func (g *geometry) info() []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	le.PutUint32(b[0:], 0x41615252)
	le.PutUint32(b[484:], 0x61417272)
	le.PutUint32(b[488:], uint32(g.clusters-g.used)) // FSI_Free_Count
	le.PutUint32(b[492:], uint32(2+g.used))          // FSI_Nxt_Free
	le.PutUint32(b[508:], 0xaa550000)
	return b
}
