package slots

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestSlots gives what is free to the lowest rank that waits.
func TestSlots(t *testing.T) {
	s := New(1)
	free, err := s.Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	order := make(chan int64, 3)
	var wg sync.WaitGroup
	for i, rank := range []int64{7, -3, 5, -100} {
		wg.Go(func() {
			ctx := t.Context()
			if rank == -100 {
				ctx = gone
			}
			free, err := s.Take(ctx, rank)
			if err != nil {
				return
			}
			order <- rank
			free()
		})
		for waiting := 0; waiting != i+1; {
			time.Sleep(time.Millisecond)
			s.mu.Lock()
			waiting = len(s.wait)
			s.mu.Unlock()
		}
	}
	cancel() // it waits no more, and takes nothing away
	free()
	wg.Wait()
	for _, want := range []int64{-3, 5, 7} {
		if got := <-order; got != want {
			t.Errorf("%d has its turn, want %d", got, want)
		}
	}
}
