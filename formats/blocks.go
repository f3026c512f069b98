package formats

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/lkx-os/lkx/exporters/squashfs"
)

// RecentRoots is how many root file systems are searched for blocks: those of the
// systems that are worked on.
const RecentRoots = 4

// KnownBlocks are the compressed blocks of root file systems that were made
// before, and a list of those of the one that is being made. It implements
// [Blocks]; the zero value knows none.
type KnownBlocks struct {
	check *zstd.Decoder // nil if what is found is trusted
	known map[[sha256.Size]byte]knownBlock
	files []*os.File
	made  []blockRecord
	found atomic.Int64 // how many of made were known
}

// knownBlock is where a compressed block is.
type knownBlock struct {
	in    *os.File
	start int64
	size  int // 0 if compression makes it no smaller
}

// blockRecord is a block as an index has it, little endian.
type blockRecord struct {
	Sum   [sha256.Size]byte // of what it was compressed from
	Start int64             // bytes from the beginning of the root file system
	Size  uint32            // bytes, 0 if compression makes it no smaller
}

// Distrust has each block that is found decompressed and compared: others can
// write to the files, too.
func (k *KnownBlocks) Distrust() error {
	var err error
	k.check, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(squashfs.MaxBlockSize))
	return err
}

// Add takes up the blocks of root, of which index is the index. It closes root
// in the end.
func (k *KnownBlocks) Add(root *os.File, index []byte) error {
	k.files = append(k.files, root)
	record := binary.Size(blockRecord{})
	if len(index)%record != 0 {
		return fmt.Errorf("an index of blocks has %d bytes, which is no multiple of %d", len(index), record)
	}
	list := make([]blockRecord, len(index)/record)
	if _, err := binary.Decode(index, binary.LittleEndian, list); err != nil {
		return err
	}
	if k.known == nil {
		k.known = map[[sha256.Size]byte]knownBlock{}
	}
	for _, r := range list {
		if _, ok := k.known[r.Sum]; !ok {
			k.known[r.Sum] = knownBlock{root, r.Start, int(r.Size)}
		}
	}
	return nil
}

// Find implements [Blocks].
func (k *KnownBlocks) Find(dst []byte, sum [sha256.Size]byte) ([]byte, bool) {
	b, ok := k.known[sum]
	if !ok || b.size > squashfs.MaxBlockSize {
		return nil, false
	}
	n := len(dst)
	dst = append(dst, make([]byte, b.size)...)
	if _, err := b.in.ReadAt(dst[n:], b.start); err != nil {
		return nil, false
	}
	if k.check != nil && b.size > 0 {
		text, err := k.check.DecodeAll(dst[n:], nil)
		if err != nil || sha256.Sum256(text) != sum {
			return nil, false
		}
	}
	k.found.Add(1)
	return dst, true
}

// Made implements [Blocks].
func (k *KnownBlocks) Made(sum [sha256.Size]byte, start int64, size int) {
	k.made = append(k.made, blockRecord{sum, start, uint32(size)})
}

// Reused tells how many of the blocks that were made were known, and how many
// were made.
func (k *KnownBlocks) Reused() (known, all int) { return int(k.found.Load()), len(k.made) }

// Index is the index of the root file system that was made; empty if that has no
// compressed blocks.
func (k *KnownBlocks) Index() []byte {
	text, err := binary.Append(nil, binary.LittleEndian, k.made)
	if err != nil {
		panic(err) // records have a fixed size
	}
	return text
}

// Close closes the root file systems.
func (k *KnownBlocks) Close() error {
	var err error
	for _, f := range k.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
