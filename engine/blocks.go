package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/store"
)

// An index of a root file system's blocks is a derived file of its own: a line of
// JSON, and then what [formats.KnownBlocks] has written.
type blockIndex struct {
	Program string // only what the same program compressed can be used
	Root    string // key of the root file system
}

// recentBlocks opens what the cache has. What cannot be read is left out: it is only
// there to save time.
func (b *local) recentBlocks() *formats.KnownBlocks {
	out := &formats.KnownBlocks{}
	for _, key := range b.Cache.Recent(kindBlocks, formats.RecentRoots) {
		if index, err := b.Cache.Lookup(kindBlocks, key); err == nil && index != nil {
			if text, err := os.ReadFile(index.Path); err == nil {
				b.addBlocks(out, text[:min(index.Size, int64(len(text)))])
			}
		}
	}
	return out
}

// addBlocks takes up the blocks of one index.
func (b *local) addBlocks(to *formats.KnownBlocks, text []byte) {
	line, records, _ := bytes.Cut(text, []byte("\n"))
	var index blockIndex
	if json.Unmarshal(line, &index) != nil || index.Program != b.Program {
		return
	}
	root, err := b.Cache.Lookup(kindRoot, index.Root)
	if err != nil || root == nil {
		return
	}
	if f, err := os.Open(root.Path); err == nil {
		_ = to.Add(f, records)
	}
}

// keepBlocks writes the index of the root file system that was made.
func (b *local) keepBlocks(ctx context.Context, made *formats.KnownBlocks, root string) error {
	records := made.Index()
	if len(records) == 0 {
		return nil
	}
	line, err := json.Marshal(blockIndex{b.Program, root})
	if err != nil {
		return err
	}
	_, err = b.derive(ctx, "", kindBlocks, root, func(w *store.Draft) error {
		if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
			return err
		}
		_, err := w.Write(records)
		return err
	})
	return err
}
