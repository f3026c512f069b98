package store

import (
	"container/heap"
	"context"
	"sync"
)

// slots bound how much is done at a time. Of who waits, the one with the largest
// layer comes first: what takes longest must not begin last.
type slots struct {
	mu   sync.Mutex
	free int
	wait waiters
}

type waiter struct {
	size  int64
	ready chan struct{} // closed when it has its slot
}

// take waits for a slot, which the caller gives back with free.
func (s *slots) take(ctx context.Context, size int64) (free func(), err error) {
	w := &waiter{size, make(chan struct{})}
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

func (s *slots) give() {
	s.mu.Lock()
	s.free++
	s.next()
	s.mu.Unlock()
}

// next hands out what is free. The caller holds mu.
func (s *slots) next() {
	for s.free > 0 && len(s.wait) > 0 {
		s.free--
		close(heap.Pop(&s.wait).(*waiter).ready)
	}
}

// waiters is a heap, the largest on top.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].size > w[j].size }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiters) Push(x any)        { *w = append(*w, x.(*waiter)) }
func (w *waiters) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}
