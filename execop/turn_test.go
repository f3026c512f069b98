package execop

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTurns has many at once take two places: never are more than two at work,
// and all get their turn.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	var working, most, done atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			leave, err := takeTurn(t.Context(), dir, 2)
			if err != nil {
				t.Error(err)
				return
			}
			n := working.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(5 * time.Millisecond)
			working.Add(-1)
			done.Add(1)
			leave()
		})
	}
	wg.Wait()
	if done.Load() != 10 || most.Load() > 2 {
		t.Errorf("%d had a turn, %d at a time; want 10, at most 2", done.Load(), most.Load())
	}
}

func TestTurnEnds(t *testing.T) {
	dir := t.TempDir()
	leave, err := takeTurn(t.Context(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := takeTurn(ctx, dir, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the only place taken the error is %v", err)
	}
}
