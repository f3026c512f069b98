package vmdk

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zlib"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	markerSize = 12 // u64 lba, u32 cmpSize
	level      = 7  // of deflate: images 3 % larger than at the default of zlib, in a fifth of the time
	ahead      = 4  // grains in work for each worker
)

var zeros [grainSize]byte

// grain is a place in a ring: one goroutine reads and writes, in order, while
// workers deflate what stands in between.
type grain struct {
	nr   int64
	in   []byte
	out  bytes.Buffer // marker, data and padding; empty for zeros
	err  error
	busy bool
	done chan struct{} // the worker is
}

func (x *extent) grains(ctx context.Context, disk *sparse.File, workers int) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ring := make([]*grain, ahead*workers)
	for i := range ring {
		ring[i] = &grain{in: make([]byte, grainSize), done: make(chan struct{}, 1)}
	}
	jobs := make(chan *grain, len(ring))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { deflate(jobs) })
	}
	defer wg.Wait()
	defer close(jobs)

	runs := disk.Runs(grainSize)
	r, err := join(disk, runs).Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n := 0
	for _, run := range runs {
		for off := run.Off; off < run.Off+run.Size; off += grainSize {
			g := ring[n%len(ring)]
			n++
			if err := x.finish(ctx, g); err != nil {
				return err
			}
			if _, err := io.ReadFull(r, g.in); err != nil {
				return fmt.Errorf("reading the disk's bytes from %d on: %w", off, err)
			}
			g.nr, g.busy = off/grainSize, true
			jobs <- g
		}
	}
	for i := range ring {
		if err := x.finish(ctx, ring[(n+i)%len(ring)]); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what g holds, once its worker is done.
func (x *extent) finish(ctx context.Context, g *grain) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !g.busy {
		return nil
	}
	<-g.done
	g.busy = false
	if g.err != nil {
		return g.err
	}
	return x.add(g.nr, g.out.Bytes())
}

// join is the runs of disk without the holes between them. Read as one file, a
// source in many pieces is opened only once.
func join(disk *sparse.File, runs []sparse.Run) *sparse.File {
	var out sparse.File
	for _, run := range runs {
		out.PutFile(out.Size(), disk.Section(run.Off, run.Size))
	}
	return &out
}

func deflate(jobs <-chan *grain) {
	z, _ := zlib.NewWriterLevel(io.Discard, level) // the level is valid
	for g := range jobs {
		g.err = g.deflate(z)
		g.done <- struct{}{}
	}
}

func (g *grain) deflate(z *zlib.Writer) error {
	g.out.Reset()
	if bytes.Equal(g.in, zeros[:]) {
		return nil
	}
	g.out.Write(zeros[:markerSize])
	z.Reset(&g.out)
	if _, err := z.Write(g.in); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	size := g.out.Len()
	binary.LittleEndian.PutUint64(g.out.Bytes(), uint64(g.nr*grainLBAs))
	binary.LittleEndian.PutUint32(g.out.Bytes()[8:], uint32(size-markerSize))
	g.out.Write(zeros[:-size&(sector-1)])
	return nil
}
