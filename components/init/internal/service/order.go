package service

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/init/internal/remind"
)

// state is what services that start after another one want to know of it.
type state int

const (
	unready  state = iota // it may become ready
	ready                 // it runs and, where it is checked, has been healthy
	finished              // it ended well and does not run again: as good as ready
	failed                // it failed and does not run again
	skipped               // it was not started as one before it failed
)

// standing is what a record means to those that come after.
func standing(r record.Record) state {
	switch {
	case r.State == record.Running && r.Ready:
		return ready
	case r.State == record.Finished:
		return finished
	case r.State == record.Failed:
		return failed
	case r.State == record.Skipped:
		return skipped
	}
	return unready
}

// order holds services back until those before them are ready.
type order struct {
	mu      sync.Mutex
	states  map[string]state
	waiting map[*waiter]bool
}

// waiter is one that is held back.
type waiter struct {
	names  []string
	result chan error // takes one without waiting
}

func newOrder() *order {
	return &order{states: map[string]state{}, waiting: map[*waiter]bool{}}
}

// set notes a service's state. It lets go those who waited for it there and
// then: a service that is ready for a moment only is seen all the same.
func (o *order) set(name string, s state) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states[name] = s
	for w := range o.waiting {
		o.settle(w)
	}
}

// settle lets w go if there is nothing to wait for. With o.mu held.
func (o *order) settle(w *waiter) {
	all := true
	for _, name := range w.names {
		switch o.states[name] {
		case failed:
			w.result <- fmt.Errorf("%s failed", name)
			delete(o.waiting, w)
			return
		case skipped:
			w.result <- fmt.Errorf("%s was not started", name)
			delete(o.waiting, w)
			return
		case unready:
			all = false
		}
	}
	if all {
		w.result <- nil
		delete(o.waiting, w)
	}
}

// missing are those of names that are not ready.
func (o *order) missing(names []string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, name := range names {
		if o.states[name] == unready && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// wait waits until all services of these names are ready at once. It is an
// error if one of them never will be, or ctx is done. From time to time it says
// for whom it waits, and how long already.
func (o *order) wait(ctx context.Context, names []string, say func(missing []string, waited time.Duration)) error {
	w := &waiter{names, make(chan error, 1)}
	o.mu.Lock()
	o.waiting[w] = true
	o.settle(w)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.waiting, w)
	}()
	defer remind.While(func(waited time.Duration) { say(o.missing(names), waited) })()
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
