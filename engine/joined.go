package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/plan"
)

// joined is the segments of an initrd in one file. Each is appended once those
// before it are: the disk is at work while later segments are made.
type joined struct {
	mu    sync.Mutex
	f     *os.File
	size  int64          // bytes in f
	parts []formats.Blob // without Open where there is none yet
	next  int            // the part to be appended
}

// joined opens the file for the segments. It is nil if no format has them as a
// file of their own, or if they all are in the cache: then the file may be there,
// too.
func (b *local) joined() (*joined, error) {
	ucode := func(c plan.Copy) bool { return c.Dest == plan.UcodePath }
	if !formats.NeedsOf(b.Formats, b.root).Joined || b.plan.Boot == nil || slices.ContainsFunc(b.plan.Boot.Copies, ucode) {
		return nil, nil
	}
	for i := range b.steps {
		key, err := b.segmentKey(&b.steps[i])
		if err != nil {
			return nil, err
		}
		if d, err := b.Cache.Lookup(kindSegment, key); d != nil && err == nil {
			continue
		}
		f, err := os.OpenFile(filepath.Join(b.dir, ".initrd"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		return &joined{f: f, parts: make([]formats.Blob, len(b.steps))}, nil
	}
	return nil, nil
}

// add takes part i.
func (j *joined) add(i int, part formats.Blob) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.parts[i] = part
	for ; j.next < len(j.parts) && j.parts[j.next].Open != nil; j.next++ {
		p := j.parts[j.next]
		var rest sparse.File
		rest.PutSource(j.size, p.Size, p.Open)
		if err := rest.Save(j.f); err != nil {
			return fmt.Errorf("joining the segments: %w", err)
		}
		j.size += p.Size
	}
	return nil
}

// close gives the file's name, "" if there is none.
func (j *joined) close() (string, error) {
	if j == nil {
		return "", nil
	}
	return j.f.Name(), j.f.Close()
}
