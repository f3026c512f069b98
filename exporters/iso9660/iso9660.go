// Package iso9660 lays out a tree as a volume of ISO 9660 (ECMA-119, "Volume and
// file structure of CDROM for information interchange", interchange level 3)
// with names, owners, modes, links and devices by Rock Ridge (SUSP 1.12, "System
// Use Sharing Protocol"; RRIP 1.12, "Rock Ridge Interchange Protocol"), and makes
// it bootable by El Torito ("Bootable CD-ROM Format Specification", 1.0).
//
// Directories may be deeper than the 8 levels of ECMA-119 6.8.2.1: nothing is
// relocated (CL, PL, RE), which Linux, GRUB, libisofs and libarchive all read.
// Names of one inode share its extents, its serial number and its link count;
// Linux counts the links but shows each name as an inode of its own.
//
// It refuses what the format, or Linux's reader of it, cannot hold: extended
// attributes, names of more than 253 bytes, targets of symbolic links of more
// than 4095 (xorriso reads 1023), devices of major number 0 with a minor above
// 255, more than 65535 directories, files of more than 100 extents (400 GiB),
// volumes of 8 TiB, times before 1970 or after 2155.
package iso9660

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

const (
	block       = 2048 // logical block and sector, ECMA-119 6.1.2 and 6.2.2
	systemArea  = 16   // blocks, 6.2.1
	maxBlocks   = 1<<32 - 1
	maxLabel    = 32              // 8.4.7
	maxSection  = 1<<32 - block   // bytes of an extent: whole blocks in 32 bits
	maxSections = 100             // of one file: Linux reads no more
	lastYear    = 1900 + 1<<8 - 1 // 9.1.5
)

// Options are what a volume is made of beside its tree.
type Options struct {
	Label string // volume identifier: up to 32 characters of ASCII; capitals, digits and _ by the standard
	Epoch int64  // the one time of everything, in seconds since 1970

	// Boot are the boot images of El Torito; the first is the default one.
	Boot []Boot

	// Contents are those of regular files, by path in the tree (the first of
	// several names), that are not to be read from the tree: so holes stay
	// holes. Sizes must agree.
	Contents map[string]*sparse.File

	Tail  int64 // bytes that stay free behind the last file, for a backup GPT
	Align int64 // what the size is a multiple of: 0, or itself a multiple of 2048
}

// Volume is a laid out volume.
type Volume struct {
	// Image is the volume. The first 32 KiB are a hole: the system area, for a
	// boot sector and a partition table. The size is a multiple of 2048.
	Image *sparse.File

	// Offsets are where the contents of files are in Image, in bytes and by
	// path, for each name of a regular file that is not empty. A file's bytes
	// are contiguous. Offsets depend on the tree's entries, never on contents:
	// who must write one into a file lays out twice.
	Offsets map[string]int64
}

// New lays t out. Files are placed, and when the image is written opened, in
// the order of the tree. Only boot images with a boot information table are
// read at once.
func New(t tree.Tree, o Options) (*Volume, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	h, err := read(t)
	if err != nil {
		return nil, err
	}
	if err := h.contents(t, o.Contents); err != nil {
		return nil, err
	}
	when := time.Unix(o.Epoch, 0).UTC()
	l := &layout{o: o, h: h, when: when, recs: records{date: shortDate(when)}}
	if err := l.place(); err != nil {
		return nil, err
	}
	if err := l.tables(); err != nil {
		return nil, err
	}
	v := &Volume{Image: &sparse.File{}, Offsets: map[string]int64{}}
	v.Image.Put(systemArea*block, l.metadata())
	for _, f := range h.files {
		v.Image.PutFile(int64(f.lba)*block, f.data)
	}
	v.Image.Resize(l.blocks * block)
	for _, n := range h.names {
		v.Offsets[n.path] = int64(n.lba) * block
	}
	return v, nil
}

func (o *Options) check() error {
	if len(o.Label) > maxLabel {
		return fmt.Errorf("the label %q is longer than %d characters", o.Label, maxLabel)
	}
	if i := strings.IndexFunc(o.Label, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("the label %q is not ASCII", o.Label)
	}
	if year := time.Unix(o.Epoch, 0).UTC().Year(); year < 1970 || year > lastYear {
		return fmt.Errorf("time %d does not fit an ISO 9660 volume", o.Epoch)
	}
	if o.Tail < 0 || o.Align < 0 || o.Align%block != 0 {
		return fmt.Errorf("a tail of %d bytes, aligned to %d, does not fit blocks of %d", o.Tail, o.Align, block)
	}
	if len(o.Boot) > maxBoot {
		return fmt.Errorf("%d boot images are more than the %d of a boot catalog", len(o.Boot), maxBoot)
	}
	return nil
}

// layout says where in the volume things are, in blocks. The order is: volume
// descriptors, path tables, directories with their continuation areas, boot
// catalog, an empty block, files.
type layout struct {
	o    Options
	h    *hierarchy
	when time.Time
	recs records

	pathTable      int   // bytes
	lTable, mTable int64 // blocks of the path tables
	dirs           int64 // of the root directory, then all others
	catalog        int64 // of the boot catalog, if there is one
	empty          int64 // the extent of all that has no contents
	blocks         int64 // of the whole volume
}

// place gives everything its blocks.
func (l *layout) place() error {
	for _, d := range l.h.dirs {
		l.pathTable += pathRecordSize(d)
	}
	next := int64(systemArea + 2)
	if len(l.o.Boot) > 0 {
		next++
	}
	take := func(bytes int64) int64 {
		at := next
		next += (bytes + block - 1) / block
		return at
	}
	l.lTable = take(int64(l.pathTable))
	l.mTable = take(int64(l.pathTable))
	for _, d := range l.h.dirs {
		l.recs.directory(d)
	}
	l.dirs = take(int64(len(l.recs.dirs)))
	if len(l.o.Boot) > 0 {
		l.catalog = take(block)
	}
	l.empty = take(block)
	for _, f := range l.h.files {
		if f.lba = take(f.data.Size()); next > maxBlocks {
			return fmt.Errorf("placing %s: the volume is larger than 8 TiB", f.entry.Path)
		}
	}
	next += (l.o.Tail + block - 1) / block
	if l.o.Align > 0 {
		step := l.o.Align / block
		next = (next + step - 1) / step * step
	}
	if next > maxBlocks {
		return fmt.Errorf("with its tail the volume is larger than 8 TiB")
	}
	l.blocks = next
	return nil
}

// contents finds where each file's bytes come from.
func (h *hierarchy) contents(t tree.Tree, given map[string]*sparse.File) error {
	left := maps.Clone(given)
	for _, f := range h.files {
		path, size := f.entry.Path, f.entry.Size
		f.data = given[path]
		delete(left, path)
		switch {
		case f.data == nil:
			f.data = &sparse.File{}
			f.data.PutSource(0, size, opener(t, path))
		case f.data.Size() != size:
			return fmt.Errorf("placing %s: %d bytes of contents, expected %d", path, f.data.Size(), size)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(left)) {
		if given[path].Size() > 0 {
			return fmt.Errorf("placing %s: there are contents, but no file to put them in", path)
		}
	}
	return nil
}
