package engine

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/store"
)

// Kinds of derived files.
const (
	kindSegment = "segment"
	kindRoot    = "root"   // a root file system for a disk
	kindBlocks  = "blocks" // an index of such a one's compressed blocks
)

// segmentKey names the segment of a step in the cache.
func (b *local) segmentKey(s *step) (string, error) {
	from, err := s.key()
	if err != nil {
		return "", err
	}
	return b.key(kindSegment, from)
}

// segment makes the segment of step i, or takes it from the cache.
func (b *local) segment(ctx context.Context, i int) (formats.Blob, error) {
	s := &b.steps[i]
	key, err := b.segmentKey(s)
	if err != nil {
		return formats.Blob{}, err
	}
	title := "segment " + s.Title
	d, err := b.derive(ctx, title, kindSegment, key, func(w *store.Draft) error {
		for _, img := range plan.Images(*s.Step) {
			if err := b.layers.Open(ctx, img); err != nil {
				return err
			}
		}
		free, err := b.making.Take(ctx, int64(i)) // in order, for what they are joined to
		if err != nil {
			return err
		}
		defer free()
		if err := b.report.vertex(title, func() error { return b.writeSegment(ctx, s, w) }); err != nil {
			return err
		}
		return b.unchanged(s)
	})
	if err != nil {
		return formats.Blob{}, b.at(s.Step, err)
	}
	return formats.FilePart(d.Path, 0, d.Size), nil
}

func (b *local) writeSegment(ctx context.Context, s *step, w io.Writer) error {
	t, err := assemble.Step(ctx, s.Step, b.sources)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 1<<20)
	if err := b.workers.Segment(buf, s.Name, t, b.Compression, b.Epoch); err != nil {
		return err
	}
	return buf.Flush()
}

// unchanged fails if what a step was made from is not what its key says.
func (b *local) unchanged(s *step) error {
	was, err := s.key()
	if err != nil {
		return err
	}
	is, err := assemble.Key(s.Step, b.sources.Files)
	if err == nil && is != was {
		err = errors.New("a file that it is made from changed during the build: build it again")
	}
	return b.at(s.Step, err)
}

// disks makes the root file systems of those types, or takes them from the cache.
func (b *local) disks(ctx context.Context, kinds []string) (map[string]*formats.RootDisk, error) {
	out := map[string]*formats.RootDisk{}
	if len(kinds) == 0 {
		return out, nil
	}
	from := make([]string, 1+len(b.steps))
	for i := range b.steps {
		var err error
		if from[i+1], err = b.steps[i].key(); err != nil {
			return nil, err
		}
	}
	for _, kind := range kinds {
		from[0] = kind
		d, err := b.disk(ctx, kind, from)
		if err != nil {
			return nil, err
		}
		if out[kind], err = formats.ReadRoot(d.Path, d.Size); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// disk is the root file system of the type kind.
func (b *local) disk(ctx context.Context, kind string, from []string) (*store.Derived, error) {
	key, err := b.key(kindRoot, from...)
	if err != nil {
		return nil, err
	}
	title := "root file system: " + kind
	var made *formats.KnownBlocks
	d, err := b.derive(ctx, title, kindRoot, key, func(w *store.Draft) error {
		t, err := b.whole(ctx)
		if err != nil {
			return err
		}
		made = b.recentBlocks()
		defer made.Close()
		err = b.report.vertex(title, func() error {
			return formats.WriteRoot(w.File(), t, formats.RootOptions{Kind: kind, Compression: b.Compression, Epoch: b.Epoch, Blocks: made})
		})
		if err != nil {
			return fmt.Errorf("making the root file system: %w", err)
		}
		for i := range b.steps {
			if err := b.unchanged(&b.steps[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && made != nil {
		err = b.keepBlocks(ctx, made, key)
	}
	return d, err
}

// key names a derived file: equal keys, equal bytes.
func (b *local) key(kind string, from ...string) (string, error) {
	text, err := json.Marshal([]any{b.Program, kind, cmp.Or(b.Compression, formats.Compressions[0]), b.Epoch, from})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// derive is what make writes, or wrote earlier for the same key. Then it is
// reported as title.
func (b *local) derive(ctx context.Context, title, kind, key string, make func(w *store.Draft) error) (*store.Derived, error) {
	d, err := b.Cache.Derive(ctx, kind, key, make)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		// A store that only can be read: what is missing is made for this build alone.
		d, err = store.Apart(filepath.Join(b.dir, "."+kind+"-"+key), make)
	}
	if err == nil && d.Cached && title != "" {
		b.report.cached(title)
	}
	return d, err
}
