// Package squashfs writes a tree as a squashfs 4.0, compressed with zstd
// (Documentation/filesystems/squashfs.rst; "Squashfs Binary Format",
// dr-emann.github.io/squashfs, whose names and chapters are quoted at the
// fields). Everything little-endian.
//
// Blocks have 128 KiB and are compressed side by side. Files smaller than a
// block share blocks, as fragments; files of the same contents share these;
// blocks of zeros are not stored. There is no export table: NFS cannot serve
// such a file system.
//
// It refuses extended attributes other than user., trusted. and security.,
// device numbers that do not fit in 32 bits, more than 65535 different owners,
// names of more than 255 bytes, targets of symbolic links of more than 4095,
// and times before 1970 or after 2106.
package squashfs

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/bits"

	"github.com/lkx-os/lkx/tree"
)

// Options are what a file system is made of beside its tree.
type Options struct {
	Epoch     int64 // the time of every file and of the file system, in seconds since 1970
	BlockSize int   // bytes, a power of two from 4 KiB to 1 MiB; 0 is 128 KiB
	Blocks    Blocks
}

// Blocks keeps compressed blocks of other file systems with the same block size.
// It changes no byte that is written: to compress a block takes long.
type Blocks interface {
	// Find appends to dst what a block is compressed to, by the SHA-256 of its
	// contents. Of a block that compression makes no smaller, that is nothing. It
	// may be called side by side.
	Find(dst []byte, sum [sha256.Size]byte) (out []byte, known bool)
	// Made is told of each block that was written: how many bytes, 0 if it is not
	// compressed, and where.
	Made(sum [sha256.Size]byte, start int64, size int)
}

// MaxBlockSize is the largest that a block can be, in bytes ("The Superblock").
const MaxBlockSize = 1 << 20

const (
	magic      = "hsqs"
	superSize  = 96
	zstdID     = 6 // "Compressor Options"
	noTable    = math.MaxUint64
	padding    = 4096 // device blocks that the image fills up
	identity   = "lkx-uuid"
	defaultLog = 17

	flagDuplicates = 0x40  // files with the same contents share them
	flagNoXattrs   = 0x200 // there is no table of extended attributes
)

var le = binary.LittleEndian

// Write writes t as a file system to out, which is empty and stands at its
// beginning. The size is a multiple of 4096. Behind the file system there is a
// block that Linux does not look at: the 8 bytes "lkx-uuid", then 16 of a UUID,
// the first 128 bits of a SHA-256 over what is written, the superblock last
// (RFC 9562, 5.8: version 8).
func Write(out io.WriteSeeker, t tree.Tree, o Options) error {
	size := cmp.Or(o.BlockSize, 1<<defaultLog)
	if o.Epoch < 0 || o.Epoch > math.MaxUint32 {
		return fmt.Errorf("the time %d cannot be that of a squashfs", o.Epoch)
	}
	if size < 1<<12 || size > MaxBlockSize || bits.OnesCount(uint(size)) != 1 {
		return fmt.Errorf("a squashfs cannot have blocks of %d bytes", size)
	}
	h, err := read(t)
	if err != nil {
		return err
	}
	if _, err := out.Seek(superSize, io.SeekStart); err != nil {
		return err
	}
	w := &writer{out: out, pos: superSize, sum: sha256.New()}
	frags, err := writeData(w, t, h, size, o.Blocks)
	if err != nil {
		return err
	}
	s, err := writeTables(w, h, frags, o.Epoch)
	if err != nil {
		return err
	}
	s.blockSize, s.epoch = uint32(size), uint32(o.Epoch)
	return w.finish(s.encode())
}

// UUID is the UUID behind the file system on r, in its usual form.
func UUID(r io.ReaderAt) (string, error) {
	b := make([]byte, superSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return "", fmt.Errorf("reading the superblock of a squashfs: %w", err)
	}
	if string(b[:4]) != magic {
		return "", errors.New("this is not a squashfs")
	}
	used := int64(le.Uint64(b[40:]))
	b = make([]byte, len(identity)+16)
	if _, err := r.ReadAt(b, roundUp(used)); err != nil || string(b[:len(identity)]) != identity {
		return "", fmt.Errorf("this squashfs has no UUID behind it (%w)", err)
	}
	u := b[len(identity):]
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}

func roundUp(n int64) int64 { return (n + padding - 1) / padding * padding }

// writer writes forward, and sums up what it writes.
type writer struct {
	out io.WriteSeeker
	pos int64
	sum hash.Hash
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	w.pos += int64(n)
	w.sum.Write(p)
	return n, err
}

// finish writes the UUID and the superblock.
func (w *writer) finish(super []byte) error {
	w.sum.Write(super)
	uuid := w.sum.Sum(nil)[:16]
	uuid[6] = uuid[6]&0x0f | 0x80
	uuid[8] = uuid[8]&0x3f | 0x80
	end := make([]byte, roundUp(w.pos)-w.pos+padding)
	copy(end[len(end)-padding:], identity)
	copy(end[len(end)-padding+len(identity):], uuid)
	if _, err := w.out.Write(end); err != nil {
		return err
	}
	if _, err := w.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := w.out.Write(super)
	return err
}

// super is the superblock ("The Superblock").
type super struct {
	inodes    uint32
	epoch     uint32
	blockSize uint32
	frags     uint32
	ids       uint16
	root      uint64
	used      int64
	flags     uint16

	idTable, xattrTable, inodeTable, dirTable, fragTable uint64
}

func (s *super) encode() []byte {
	b := make([]byte, superSize)
	copy(b, magic)
	le.PutUint32(b[4:], s.inodes)
	le.PutUint32(b[8:], s.epoch)
	le.PutUint32(b[12:], s.blockSize)
	le.PutUint32(b[16:], s.frags)
	le.PutUint16(b[20:], zstdID)
	le.PutUint16(b[22:], uint16(bits.TrailingZeros32(s.blockSize)))
	le.PutUint16(b[24:], s.flags)
	le.PutUint16(b[26:], s.ids)
	le.PutUint16(b[28:], 4) // version 4.0
	le.PutUint64(b[32:], s.root)
	le.PutUint64(b[40:], uint64(s.used))
	le.PutUint64(b[48:], s.idTable)
	le.PutUint64(b[56:], s.xattrTable)
	le.PutUint64(b[64:], s.inodeTable)
	le.PutUint64(b[72:], s.dirTable)
	le.PutUint64(b[80:], s.fragTable)
	le.PutUint64(b[88:], noTable)
	return b
}
