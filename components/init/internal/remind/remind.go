// Package remind has somebody say what is waited for, now and then.
package remind

import "time"

// Next is when it is said again that something is waited for: after 10, 30 and
// 60 seconds, then every minute.
func Next(waited time.Duration) time.Duration {
	for _, at := range []time.Duration{10 * time.Second, 30 * time.Second} {
		if waited < at {
			return at
		}
	}
	return waited.Truncate(time.Minute) + time.Minute
}

// While calls say at these times, with the time waited, until stop is called;
// when that returns it calls no more.
func While(say func(waited time.Duration)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var waited time.Duration
		for {
			next := Next(waited)
			select {
			case <-done:
				return
			case <-time.After(next - waited):
				waited = next
				say(waited)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
