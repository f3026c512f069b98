package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/lkx-os/lkx/store"
)

// recentRoots is how many root file systems are searched for blocks: those of the
// systems that are worked on.
const recentRoots = 4

// blocks are the compressed blocks of the root file systems that were last used.
// It implements [formats.Blocks].
type blocks struct {
	known map[[sha256.Size]byte]block
	files []*os.File
	made  []blockRecord
}

// block is where a compressed block is.
type block struct {
	in    *os.File
	start int64
	size  int // 0 if compression makes it no smaller
}

// An index of a root file system's blocks is a derived file of its own: a line of
// JSON, and then records.
type blockIndex struct {
	Program string // only what the same program compressed can be used
	Root    string // key of the root file system
}

// blockRecord is a block as an index has it, little endian.
type blockRecord struct {
	Sum   [sha256.Size]byte // of what it was compressed from
	Start int64             // bytes from the beginning of the root file system
	Size  uint32
}

// recentBlocks opens what the cache has. What cannot be read is left out: it is only
// there to save time.
func (b *local) recentBlocks() *blocks {
	out := &blocks{known: map[[sha256.Size]byte]block{}}
	for _, key := range b.Cache.Recent(kindBlocks, recentRoots) {
		if index, err := b.Cache.Lookup(kindBlocks, key); err == nil && index != nil {
			if text, err := os.ReadFile(index.Path); err == nil {
				out.add(b, text[:min(index.Size, int64(len(text)))])
			}
		}
	}
	return out
}

// add takes up the blocks of one index.
func (o *blocks) add(b *local, text []byte) {
	line, records, _ := bytes.Cut(text, []byte("\n"))
	var index blockIndex
	if json.Unmarshal(line, &index) != nil || index.Program != b.Program {
		return
	}
	root, err := b.Cache.Lookup(kindRoot, index.Root)
	if err != nil || root == nil {
		return
	}
	f, err := os.Open(root.Path)
	if err != nil {
		return
	}
	o.files = append(o.files, f)
	list := make([]blockRecord, len(records)/binary.Size(blockRecord{}))
	if _, err := binary.Decode(records, binary.LittleEndian, list); err != nil {
		return
	}
	for _, r := range list {
		if _, ok := o.known[r.Sum]; !ok {
			o.known[r.Sum] = block{f, r.Start, int(r.Size)}
		}
	}
}

// Find implements [formats.Blocks].
func (o *blocks) Find(dst []byte, sum [sha256.Size]byte) ([]byte, bool) {
	k, ok := o.known[sum]
	if !ok {
		return nil, false
	}
	n := len(dst)
	dst = append(dst, make([]byte, k.size)...)
	if _, err := k.in.ReadAt(dst[n:], k.start); err != nil {
		return nil, false
	}
	return dst, true
}

// Made implements [formats.Blocks].
func (o *blocks) Made(sum [sha256.Size]byte, start int64, size int) {
	o.made = append(o.made, blockRecord{sum, start, uint32(size)})
}

// keepBlocks writes the index of a root file system that was made.
func (b *local) keepBlocks(ctx context.Context, o *blocks, root string) error {
	line, err := json.Marshal(blockIndex{b.Program, root})
	if err != nil {
		return err
	}
	_, err = b.derive(ctx, "", kindBlocks, root, func(w *store.Draft) error {
		if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
			return err
		}
		text, err := binary.Append(nil, binary.LittleEndian, o.made)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
	return err
}

// Close closes the root file systems.
func (o *blocks) Close() error {
	var err error
	for _, f := range o.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
