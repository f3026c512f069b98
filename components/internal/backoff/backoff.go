// Package backoff says how long to wait before something that ended is started
// again.
package backoff

import "time"

const (
	first   = 100 * time.Millisecond
	longest = 30 * time.Second
	healthy = 10 * time.Second // a run of this length starts over
)

// Backoff counts the restarts of one thing. Its zero value is ready.
type Backoff struct {
	Restarts int // in all
	last     time.Duration
}

// Next counts a restart after a run of that length and returns the pause before
// it: twice the last one, unless the run was a healthy one.
func (b *Backoff) Next(ran time.Duration) time.Duration {
	b.Restarts++
	if ran >= healthy || b.last == 0 {
		b.last = first
	} else {
		b.last = min(2*b.last, longest)
	}
	return b.last
}
