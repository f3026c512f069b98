package backoff

import (
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	var b Backoff
	short := 50 * time.Millisecond
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
		if got := b.Next(short); got != want*time.Millisecond {
			t.Errorf("pause %d is %v, want %v", i+1, got, want*time.Millisecond)
		}
	}
	if got := b.Next(10 * time.Second); got != 100*time.Millisecond {
		t.Errorf("after a healthy run the pause is %v", got)
	}
	if got := b.Next(short); got != 200*time.Millisecond {
		t.Errorf("then it is %v", got)
	}
	if b.Restarts != 13 {
		t.Errorf("counted %d restarts, want 13", b.Restarts)
	}
}
