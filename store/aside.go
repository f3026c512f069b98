package store

import (
	"io"
	"sync"
)

// Buffers of an aside: enough that neither side waits for long.
const (
	asideBuffers = 4
	asideSize    = 256 << 10
)

// aside writes to another writer in a goroutine of its own, so that what is
// unpacked is written and hashed while more is unpacked.
type aside struct {
	free, full chan []byte
	now        []byte
	done       chan struct{}
	err        error // of the other writer; read after done
}

// asides are the buffers of those that are closed.
var asides = sync.Pool{New: func() any {
	free := make(chan []byte, asideBuffers)
	for range asideBuffers {
		free <- make([]byte, 0, asideSize)
	}
	return free
}}

func newAside(w io.Writer) *aside {
	a := &aside{free: asides.Get().(chan []byte), full: make(chan []byte, asideBuffers), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		for b := range a.full {
			if _, a.err = w.Write(b); a.err != nil {
				return
			}
			a.free <- b[:0]
		}
	}()
	return a
}

// Write fails with the other writer's error, some writes later.
func (a *aside) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if a.now == nil {
			select {
			case a.now = <-a.free:
			case <-a.done:
				return n, a.err
			}
		}
		room := min(cap(a.now)-len(a.now), len(p)-n)
		a.now = append(a.now, p[n:n+room]...)
		n += room
		if len(a.now) == cap(a.now) {
			a.full <- a.now // it has room for all buffers
			a.now = nil
		}
	}
	return n, nil
}

// Close waits until all is written.
func (a *aside) Close() error {
	if a.now != nil {
		a.full <- a.now
	}
	close(a.full)
	<-a.done
	if a.err == nil {
		asides.Put(a.free) // all of them are in it
	}
	return a.err
}
