package memlog

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// What is kept, in bytes: of one source, and of all. A noisy one must not push
// out what others said.
const (
	PerSource = 128 << 10
	inAll     = 4 << 20
	overhead  = 64 // of an entry
)

// slack is how many entries a reader may be behind before it loses some.
const slack = 1024

// Hub keeps the last entries of each source in memory, and hands new ones to
// readers. Its zero value is ready.
type Hub struct {
	mu      sync.Mutex
	sources map[string]*source
	readers map[*Reader]bool
}

type source struct {
	entries []Entry
	size    int
}

// Reader gets the entries that are added while it is there.
type Reader struct {
	C      <-chan Entry
	c      chan Entry
	want   func(source string) bool
	missed int // entries since the last that it got
}

func size(e Entry) int { return len(e.Msg) + overhead }

// Add adds an entry.
func (h *Hub) Add(e Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sources[e.Source]
	if s == nil {
		if h.sources == nil {
			h.sources = map[string]*source{}
		}
		s = &source{}
		h.sources[e.Source] = s
	}
	s.entries = append(s.entries, e)
	s.size += size(e)
	limit := min(PerSource, inAll/len(h.sources))
	for s.size > limit && len(s.entries) > 1 {
		s.size -= size(s.entries[0])
		s.entries[0] = Entry{}
		s.entries = s.entries[1:]
	}
	for r := range h.readers {
		if r.want(e.Source) {
			r.give(e)
		}
	}
}

// give hands on an entry, or counts it as missed if the reader is too slow.
func (r *Reader) give(e Entry) {
	if cap(r.c)-len(r.c) < 2 {
		r.missed++
		return
	}
	if r.missed > 0 {
		r.c <- Entry{Time: e.Time, Source: e.Source, Msg: fmt.Sprintf("lkx: %d lines missed by a slow reader", r.missed)}
		r.missed = 0
	}
	r.c <- e
}

// Read returns what there is of the sources that want takes, in the order of
// time, and a reader of what comes after; [Hub.Leave] ends it.
func (h *Hub) Read(want func(source string) bool) ([]Entry, *Reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Entry
	for name, s := range h.sources {
		if want(name) {
			out = append(out, s.entries...)
		}
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	r := &Reader{c: make(chan Entry, slack), want: want}
	r.C = r.c
	if h.readers == nil {
		h.readers = map[*Reader]bool{}
	}
	h.readers[r] = true
	return out, r
}

// Leave ends a reader.
func (h *Hub) Leave(r *Reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers, r)
}

// Serve answers queries at l until ctx is done.
func (h *Hub) Serve(ctx context.Context, l net.Listener) {
	Accept(ctx, l, func(_ context.Context, conn net.Conn) { h.answer(conn) })
}

// Accept has serve look after each connection to l, and closes it then, until
// ctx is done.
func Accept(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn)) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil { // of a connection, or there are too many
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			serve(ctx, conn)
		}()
	}
}

// answer answers one query. Errors are those of a reader that has gone.
func (h *Hub) answer(conn net.Conn) {
	mode := make([]byte, 1)
	if _, err := conn.Read(mode); err != nil || Mode(mode[0]) > DumpFollow {
		return
	}
	past, r := h.Read(func(string) bool { return true })
	defer h.Leave(r)
	out := json.NewEncoder(conn)
	if Mode(mode[0]) != Follow {
		for _, e := range past {
			if out.Encode(e) != nil {
				return
			}
		}
	}
	if Mode(mode[0]) == Dump {
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = conn.Read(mode) // ends when the reader goes
	}()
	for {
		select {
		case e := <-r.C:
			if out.Encode(e) != nil {
				return
			}
		case <-gone:
			return
		}
	}
}
