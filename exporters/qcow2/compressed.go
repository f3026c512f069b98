package qcow2

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	// window is how far back a compressed cluster may refer. QEMU inflates with
	// windowBits -12 ("Compressed Clusters Descriptor").
	window = 1 << 12

	compressed  = 1 << 62                // in an L2 entry
	sectorsFrom = 62 - (clusterBits - 8) // "Compressed Clusters Descriptor": x
	bufferSize  = 1 << 20                // of what is written
	ahead       = 4                      // clusters in memory for each worker
	maxWorkers  = 64                     // more would only take memory
)

var zeros [clusterSize]byte

// WriteCompressed writes the image of disk with deflated clusters into w, which
// must be empty. Clusters of zeros are left out; clusters that do not shrink are
// stored. It reads and writes forward, but for the metadata, which it writes at
// the end, at w's beginning. The image is the same for any number of workers.
func WriteCompressed(ctx context.Context, w io.WriteSeeker, disk *sparse.File, workers int) error {
	l, err := plan(disk)
	if err != nil {
		return err
	}
	from, err := l.packed(disk).Open()
	if err != nil {
		return fmt.Errorf("opening the disk: %w", err)
	}
	defer from.Close()
	if _, err := w.Seek(l.metadata(), io.SeekStart); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	p := &packer{w: bufio.NewWriterSize(w, bufferSize), off: l.metadata(), counts: make([]uint16, l.metadata()/clusterSize)}
	for i := range p.counts {
		p.counts[i] = 1
	}
	if err := deflate(ctx, from, l.data, min(max(workers, 1), maxWorkers), p.add); err != nil {
		return err
	}
	if err := p.align(); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	head, err := l.image(p.entries, p.counts).Open()
	if err != nil {
		return err
	}
	defer head.Close()
	if _, err := io.Copy(w, head); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// packer places clusters one after another.
type packer struct {
	w       *bufio.Writer
	off     int64    // where the next goes
	entries []uint64 // L2 entries of those placed
	counts  []uint16 // of the image's clusters, from its beginning
}

// add writes a cluster as [deflate] packs it, and notes its L2 entry.
func (p *packer) add(packed []byte) error {
	entry := uint64(0) // not allocated
	switch n := int64(len(packed)); n {
	case 0:
	case clusterSize:
		if err := p.align(); err != nil {
			return fmt.Errorf("writing the image: %w", err)
		}
		entry = copied | uint64(p.off)
	default:
		more := (p.off+n-1)/sector - p.off/sector // sectors beyond the first
		entry = compressed | uint64(more)<<sectorsFrom | uint64(p.off)
	}
	p.entries = append(p.entries, entry)
	if len(packed) == 0 {
		return nil
	}
	end := p.off + int64(len(packed))
	for c := p.off / clusterSize; c <= (end-1)/clusterSize; c++ {
		if c == int64(len(p.counts)) {
			p.counts = append(p.counts, 0)
		}
		p.counts[c]++
	}
	p.off = end
	if _, err := p.w.Write(packed); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// align writes zeros up to the next cluster.
func (p *packer) align() error {
	n := -p.off & (clusterSize - 1)
	p.off += n
	_, err := p.w.Write(zeros[:n])
	return err
}

// cluster is on its way from the reader to the packer.
type cluster struct {
	data   [clusterSize]byte
	out    bytes.Buffer
	packed []byte
	done   chan error // 1 value, once packed is there
}

// deflate reads n clusters from r and calls emit for each, in their order, with
// what it is to be stored as: nothing for zeros, the whole cluster if deflate
// does not shrink it, else a deflate stream.
func deflate(ctx context.Context, r io.Reader, n int64, workers int, emit func(packed []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	work, order := make(chan *cluster), make(chan *cluster, ahead*workers)
	pool := sync.Pool{New: func() any { return &cluster{done: make(chan error, 1)} }}
	wg.Go(func() {
		defer close(work)
		defer close(order)
		for range n {
			c := pool.Get().(*cluster)
			if _, err := io.ReadFull(r, c.data[:]); err != nil {
				c.done <- fmt.Errorf("reading the disk: %w", err)
				send(ctx, order, c)
				return
			}
			if !send(ctx, order, c) || !send(ctx, work, c) {
				return
			}
		}
	})
	for range workers {
		wg.Go(func() {
			z, err := flate.NewWriterWindow(nil, window)
			for c := range work {
				if err == nil {
					err = c.pack(z)
				}
				c.done <- err
			}
		})
	}
	for c := range order {
		select {
		case err := <-c.done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := emit(c.packed); err != nil {
			return err
		}
		pool.Put(c)
	}
	return ctx.Err()
}

// send tells whether it could before ctx ended.
func send(ctx context.Context, to chan<- *cluster, c *cluster) bool {
	select {
	case to <- c:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *cluster) pack(z *flate.Writer) error {
	c.packed = nil
	if c.data == zeros {
		return nil
	}
	c.out.Reset()
	z.Reset(&c.out)
	if _, err := z.Write(c.data[:]); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	c.packed = c.out.Bytes()
	if len(c.packed) >= clusterSize {
		c.packed = c.data[:]
	}
	return nil
}
