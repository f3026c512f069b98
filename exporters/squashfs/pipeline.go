package squashfs

import (
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// pipeline compresses blocks side by side and writes them in the order in which
// they came.
type pipeline struct {
	w       io.Writer
	size    int
	pos     int64
	work    chan *job // to compress
	order   chan *job // to write
	blocks  Blocks
	buffers sync.Pool
	workers sync.WaitGroup
	done    chan struct{} // closed when all is written
	err     error         // of writing; read after done
}

type job struct {
	placed
	in, out []byte
	zeros   bool              // in is all zeros, and not stored
	sum     [sha256.Size]byte // of in, if there are Blocks
	ready   chan struct{}
}

func newPipeline(w io.Writer, pos int64, size int, blocks Blocks) (*pipeline, error) {
	n := runtime.GOMAXPROCS(0)
	p := &pipeline{w: w, size: size, pos: pos, blocks: blocks, work: make(chan *job, n), order: make(chan *job, 4*n), done: make(chan struct{})}
	p.buffers.New = func() any { b := make([]byte, size); return &b }
	for range n {
		z, err := compressor(size)
		if err != nil {
			return nil, err
		}
		p.workers.Go(func() {
			for j := range p.work {
				p.compress(j, z, p.buffer()[:0])
				close(j.ready)
			}
		})
	}
	go p.write()
	return p, nil
}

// compressor makes blocks that Linux decompresses with a window of their size.
// The level is the highest that klauspost/compress has: about libzstd's 11.
func compressor(size int) (*zstd.Encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(size), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("setting up zstd: %w", err)
	}
	return z, nil
}

// buffer is a buffer of a block's size.
func (p *pipeline) buffer() []byte { return (*p.buffers.Get().(*[]byte))[:p.size] }

// add takes over a block, which is not stored if it is of zeros.
func (p *pipeline) add(data []byte, zeros bool) *placed {
	j := &job{in: data, zeros: zeros, ready: make(chan struct{})}
	p.order <- j
	p.work <- j
	return &j.placed
}

// compress makes out of in, or leaves it if that is no smaller.
func (p *pipeline) compress(j *job, z *zstd.Encoder, buf []byte) {
	if j.zeros {
		return
	}
	known := false
	if p.blocks != nil {
		j.sum = sha256.Sum256(j.in)
		j.out, known = p.blocks.Find(buf, j.sum)
	}
	if !known {
		j.out = z.EncodeAll(j.in, buf)
	}
	j.size = uint32(len(j.out))
	if len(j.out) >= len(j.in) || len(j.out) == 0 {
		j.out = j.in
		j.size = uint32(len(j.in)) | stored
	}
}

// write writes blocks until there are no more. After an error it goes on without
// writing, so that nobody waits for ever.
func (p *pipeline) write() {
	defer close(p.done)
	for j := range p.order {
		<-j.ready
		j.start = p.pos
		if p.err == nil {
			_, p.err = p.w.Write(j.out)
		}
		if p.blocks != nil && !j.zeros {
			size := 0
			if j.size&stored == 0 {
				size = len(j.out)
			}
			p.blocks.Made(j.sum, j.start, size)
		}
		p.pos += int64(len(j.out))
		p.free(j.in)
		if j.size&stored == 0 {
			p.free(j.out)
		}
		j.in, j.out = nil, nil
	}
}

// free gives a buffer back, unless it is one that had to grow.
func (p *pipeline) free(b []byte) {
	if cap(b) == p.size {
		b = b[:p.size]
		p.buffers.Put(&b)
	}
}

// close waits until all is written.
func (p *pipeline) close() error {
	close(p.work)
	close(p.order)
	p.workers.Wait()
	<-p.done
	return p.err
}
