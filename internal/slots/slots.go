// Package slots bounds how much is done at a time, and says what comes first.
package slots

import (
	"container/heap"
	"context"
	"sync"
)

// Slots are handed out to who waits for one, the lowest rank first.
type Slots struct {
	mu   sync.Mutex
	free int
	wait waiters
}

// New makes n slots.
func New(n int) *Slots { return &Slots{free: n} }

type waiter struct {
	rank  int64
	ready chan struct{} // closed when it has its slot
}

// Take waits for a slot, which the caller gives back with free.
func (s *Slots) Take(ctx context.Context, rank int64) (free func(), err error) {
	w := &waiter{rank, make(chan struct{})}
	s.mu.Lock()
	heap.Push(&s.wait, w)
	s.next()
	s.mu.Unlock()
	select {
	case <-w.ready:
		return s.give, nil
	case <-ctx.Done():
		go func() {
			<-w.ready
			s.give()
		}()
		return nil, context.Cause(ctx)
	}
}

func (s *Slots) give() {
	s.mu.Lock()
	s.free++
	s.next()
	s.mu.Unlock()
}

// next hands out what is free. The caller holds mu.
func (s *Slots) next() {
	for s.free > 0 && len(s.wait) > 0 {
		s.free--
		close(heap.Pop(&s.wait).(*waiter).ready)
	}
}

// waiters is a heap, the lowest rank on top.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].rank < w[j].rank }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiters) Push(x any)        { *w = append(*w, x.(*waiter)) }
func (w *waiters) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}
