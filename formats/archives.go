package formats

import (
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/exporters/cpio"
	"github.com/lkx-os/lkx/tree"
)

const (
	// archiveSize is how many bytes of contents an archive of a segment has, if
	// its last file does not make it more. The bytes written depend on it.
	archiveSize = 16 << 20

	// gzipBlock is the size of the blocks that are compressed side by side. The
	// bytes written depend on it, so it never changes.
	gzipBlock = 1 << 20

	// maxWorkers bounds the memory that compression takes.
	maxWorkers = 8

	// maxAhead is how many archives of a segment wait until those before them are
	// written, at most; maxHeld is how many bytes of each are held until then.
	maxAhead = 3
	maxHeld  = 8 << 20
)

// Workers compress archives side by side, as many at a time as there are
// processors, of all segments that they are given.
type Workers chan *worker

// NewWorkers are workers for this machine.
func NewWorkers() Workers {
	n := min(runtime.GOMAXPROCS(0), maxWorkers)
	k := make(Workers, n)
	for range n {
		k <- &worker{}
	}
	return k
}

// Segment is the function [Segment], done by k.
//
// A segment is cut into archives between two files, so that a large image keeps
// more than one processor busy. The kernel reads them one after another, and
// forgets at each one's end which names it has seen: all names of one file are in
// the same archive.
func (k Workers) Segment(w io.Writer, name string, t tree.Tree, compression string, epoch int64) error {
	t, err := forInitrd(name, t)
	if err != nil {
		return err
	}
	list, err := cut(t, archiveSize)
	if err != nil {
		return err
	}
	return k.segment(w, list, compression, epoch)
}

// segment writes an archive for each tree of list, in this order.
func (k Workers) segment(w io.Writer, list []tree.Tree, compression string, epoch int64) error {
	var g errgroup.Group
	var failed atomic.Bool
	ahead := make(chan struct{}, maxAhead)
	turn := make(chan struct{})
	close(turn)
	for _, part := range list {
		ahead <- struct{}{}
		z := <-k
		if failed.Load() {
			k <- z
			break
		}
		out := &queued{w: w, turn: turn}
		done := make(chan struct{})
		turn = done
		g.Go(func() error {
			defer func() { <-ahead }()
			defer close(done)
			err := z.archive(out, part, compression, epoch)
			k <- z
			if err == nil {
				err = out.flush()
			}
			if err != nil {
				failed.Store(true)
			}
			<-out.turn // who comes next may write when nobody else does
			return err
		})
	}
	return g.Wait()
}

// cut parts t into trees for one archive each, of most bytes and the file that
// makes them that many.
func cut(t tree.Tree, most int64) ([]tree.Tree, error) {
	var out []tree.Tree
	left := map[int]int{} // names still to come, by hard link group
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		if e.Hard != 0 {
			left[e.Hard]++
		}
	}
	now := &part{Tree: t}
	var size int64
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		if size >= most && len(now.open) == 0 {
			out = append(out, now)
			now, size = &part{Tree: t}, 0
		}
		now.entries = append(now.entries, e)
		if e.Hard == 0 {
			size += e.Size
			continue
		}
		if now.open == nil {
			now.open = map[int]bool{}
		}
		now.open[e.Hard] = true
		if left[e.Hard]--; left[e.Hard] == 0 {
			size += e.Size
			delete(now.open, e.Hard)
		}
	}
	return append(out, now), nil
}

// part is some of a tree's entries.
type part struct {
	tree.Tree
	entries []tree.Entry
	open    map[int]bool // hard link groups of which not all names are in entries
}

func (p *part) All() iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for _, e := range p.entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// worker compresses one archive at a time. What it needs for that is kept for
// the next.
type worker struct {
	zstd *zstd.Encoder
	gzip *pgzip.Writer
}

// archive writes t as an archive.
func (k *worker) archive(w io.Writer, t tree.Tree, compression string, epoch int64) error {
	counted := &counter{w: w}
	z, err := k.compressor(counted, compression)
	if err != nil {
		return err
	}
	if err := cpio.Write(z, t, epoch); err != nil {
		z.Close()
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing the archive: %w", err)
	}
	_, err = w.Write(make([]byte, -counted.n&(segmentAlign-1)))
	return err
}

func (k *worker) compressor(w io.Writer, name string) (io.WriteCloser, error) {
	switch name {
	case "", Compressions[0]:
		if k.zstd == nil {
			var err error
			k.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
			if err != nil {
				return nil, err
			}
		}
		k.zstd.Reset(w)
		return k.zstd, nil
	case "gzip":
		if k.gzip == nil {
			var err error
			if k.gzip, err = pgzip.NewWriterLevel(w, pgzip.DefaultCompression); err != nil {
				return nil, err
			}
			if err := k.gzip.SetConcurrency(gzipBlock, 2); err != nil {
				return nil, err
			}
			return k.gzip, nil
		}
		k.gzip.Reset(w)
		return k.gzip, nil
	}
	return nil, fmt.Errorf("unknown compression %q; there are: %s", name, strings.Join(Compressions, ", "))
}

// queued is the output of an archive: what is written is held until all archives
// before it are in w.
type queued struct {
	w    io.Writer
	turn <-chan struct{} // closed when it is our turn
	held [][]byte        // each of at most chunkSize bytes
	ours bool
}

// chunkSize is how many bytes are held in one piece.
const chunkSize = 1 << 20

// chunks are those that hold nothing.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func (q *queued) Write(data []byte) (int, error) {
	if !q.ours {
		select {
		case <-q.turn:
		default:
			if len(q.held) < maxHeld/chunkSize {
				q.hold(data)
				return len(data), nil
			}
		}
		if err := q.flush(); err != nil {
			return 0, err
		}
	}
	return q.w.Write(data)
}

// hold keeps data until flush.
func (q *queued) hold(data []byte) {
	for len(data) > 0 {
		last := len(q.held) - 1
		if last < 0 || len(q.held[last]) == chunkSize {
			q.held = append(q.held, chunks.Get().(*[chunkSize]byte)[:0])
			last++
		}
		n := min(len(data), chunkSize-len(q.held[last]))
		q.held[last] = append(q.held[last], data[:n]...)
		data = data[n:]
	}
}

// flush waits for our turn, and writes what is held.
func (q *queued) flush() error {
	<-q.turn
	q.ours = true
	for len(q.held) > 0 {
		if _, err := q.w.Write(q.held[0]); err != nil {
			return err
		}
		chunks.Put((*[chunkSize]byte)(q.held[0][:chunkSize]))
		q.held = q.held[1:]
	}
	return nil
}

// counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
