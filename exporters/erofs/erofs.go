// Package erofs writes a tree as an EROFS, Linux's "Enhanced Read-Only File
// System" (Documentation/filesystems/erofs.rst; struct names are those of
// fs/erofs/erofs_fs.h), not compressed, for Linux 5.4 and later.
//
// Blocks have 4 KiB. The first holds the superblock; inodes follow, each with its
// extended attributes and, where they fit into the same block, the last bytes of
// its contents; whole blocks of contents come behind all inodes, in the order of
// the tree. Everything little-endian.
//
// It refuses extended attributes of other kinds than user., trusted., security.
// and POSIX ACLs, or of more than 64 KiB; device numbers that do not fit in 32
// bits; and file systems of 16 TiB.
package erofs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/lkx-os/lkx/tree"
)

const (
	blockBits   = 12
	blockSize   = 1 << blockBits
	superOffset = 1024 // EROFS_SUPER_OFFSET
	superSize   = 128  // struct erofs_super_block
	slotSize    = 32   // what inodes are counted by: EROFS_ISLOTBITS
	magic       = 0xe0f5e1e2
	maxBlocks   = 1<<32 - 1

	compatChecksum = 1 // EROFS_FEATURE_COMPAT_SB_CHKSUM
	compatMtime    = 2 // EROFS_FEATURE_COMPAT_MTIME

	uuidAt = superOffset + 48
)

var le = binary.LittleEndian

// Options are what a file system is made of beside its tree.
type Options struct {
	Epoch int64 // the time of every file and of the file system, in seconds since 1970
}

// Write writes t as a file system to out, which is empty and stands at its
// beginning. Its size is a multiple of 4096. Its UUID is the first 128 bits of a
// SHA-256 over all other blocks, in the order in which they are written, and the
// first one without UUID and checksum (RFC 9562, 5.8: version 8).
func Write(out io.WriteSeeker, t tree.Tree, o Options) error {
	l, err := layOut(t)
	if err != nil {
		return err
	}
	w := &writer{layout: l, tree: t, epoch: o.Epoch, out: output{w: out, sum: sha256.New()}}
	w.open = map[int64]*metaBlock{0: {make([]byte, blockSize), l.members[0]}}
	for _, n := range l.inodes {
		if err := w.inode(n); err != nil {
			return fmt.Errorf("writing %s: %w", n.path(), err)
		}
	}
	if err := w.flushData(); err != nil {
		return err
	}
	return w.super()
}

// UUID is the UUID of the file system on r, in its usual form.
func UUID(r io.ReaderAt) (string, error) {
	b := make([]byte, superSize)
	if _, err := r.ReadAt(b, superOffset); err != nil {
		return "", fmt.Errorf("reading the superblock of an erofs: %w", err)
	}
	if le.Uint32(b) != magic {
		return "", errors.New("this is not an erofs")
	}
	u := b[48:64]
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}

// output writes at offsets, and sums up what it writes.
type output struct {
	w   io.WriteSeeker
	pos int64
	sum hash.Hash
}

func (o *output) at(off int64, data []byte) error {
	if o.pos != off {
		if _, err := o.w.Seek(off, io.SeekStart); err != nil {
			return err
		}
	}
	n, err := o.w.Write(data)
	o.pos = off + int64(n)
	o.sum.Write(data)
	return err
}

// dataBuffer is how many bytes of contents are written at a time.
const dataBuffer = 1 << 20

// writer writes what is laid out: blocks of inodes as they get full, contents
// behind them.
type writer struct {
	*layout
	tree    tree.Tree
	epoch   int64
	open    map[int64]*metaBlock // by number: blocks that wait for more inodes
	out     output
	data    bytes.Buffer // not written yet
	written int64        // bytes of contents
}

// metaBlock is a block, or several, of inodes.
type metaBlock struct {
	bytes []byte
	left  int // inodes to come
}

// inode writes an inode and its contents.
func (w *writer) inode(n *inode) error {
	first := n.off / blockSize
	b := w.open[first]
	if b == nil {
		last := (n.off + n.size() - 1) / blockSize
		b = &metaBlock{make([]byte, (last-first+1)*blockSize), w.members[first]}
		w.open[first] = b
	}
	at := b.bytes[n.off%blockSize:]
	n.encode(at, w.dataStart, w.epoch)
	if err := w.contents(n, at[n.size()-n.inline:n.size()]); err != nil {
		return err
	}
	if b.left--; b.left > 0 || first == 0 { // the first block is the superblock's, too
		return nil
	}
	delete(w.open, first)
	return w.out.at(first*blockSize, b.bytes)
}

// contents writes the whole blocks of n's contents, and the rest into tail.
func (w *writer) contents(n *inode, tail []byte) error {
	var from io.Reader
	switch n.entry.Type() {
	case tree.TypeRegular:
		if n.length == 0 {
			return nil
		}
		f, err := w.tree.Open(n.entry.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	case tree.TypeDir:
		from = bytes.NewReader(n.directory())
	case tree.TypeSymlink:
		from = bytes.NewReader([]byte(n.entry.Link))
	default:
		return nil
	}
	if err := w.copy(from, n.length-int64(len(tail))); err != nil {
		return err
	}
	if _, err := io.ReadFull(from, tail); err != nil {
		return short(err)
	}
	if _, err := io.ReadFull(from, make([]byte, 1)); err == nil {
		return errors.New("the file is longer than it was")
	}
	return nil
}

// short says that a file had fewer bytes than announced.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file is shorter than it was: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// copy writes size bytes of contents, up to the end of the last block.
func (w *writer) copy(from io.Reader, size int64) error {
	for padded := (size + blockSize - 1) &^ (blockSize - 1); padded > 0; {
		n := min(size, int64(dataBuffer-w.data.Len()))
		if m, err := io.CopyN(&w.data, from, n); m < n {
			return short(err)
		}
		size -= n
		padded -= n
		if size == 0 {
			w.data.Write(make([]byte, padded))
			padded = 0
		}
		if w.data.Len() >= dataBuffer {
			if err := w.flushData(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) flushData() error {
	err := w.out.at(w.dataStart*blockSize+w.written, w.data.Bytes())
	w.written += int64(w.data.Len())
	w.data.Reset()
	return err
}

// super writes the first block, last: it has checksums over all others.
func (w *writer) super() error {
	b := w.open[0].bytes
	s := b[superOffset:]
	le.PutUint32(s[0:], magic)
	le.PutUint32(s[8:], compatChecksum|compatMtime)
	s[12] = blockBits
	le.PutUint16(s[14:], uint16(w.inodes[0].off/slotSize)) // root_nid
	le.PutUint64(s[16:], uint64(len(w.inodes)))            // inos
	le.PutUint64(s[24:], uint64(w.epoch))                  // build_time
	le.PutUint32(s[36:], uint32(w.blocks))
	w.out.sum.Write(b)
	uuid := w.out.sum.Sum(nil)[:16]
	uuid[6] = uuid[6]&0x0f | 0x80
	uuid[8] = uuid[8]&0x3f | 0x80
	copy(b[uuidAt:], uuid)
	// Linux's crc32c, without the inversion at the end, of the rest of the block.
	le.PutUint32(s[4:], ^crc32.Checksum(b[superOffset:blockSize], crc32.MakeTable(crc32.Castagnoli)))
	return w.out.at(0, b)
}
