package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/internal/backoff"
)

// set changes the service's record, and tells those that wait for it.
func (s *service) set(f func(*record.Record)) {
	r, err := s.note.Change(f)
	if err != nil {
		s.Log.Printf("service %s: %v", s.Name, err)
	}
	s.order.set(s.Name, standing(r))
}

func (s *service) to(state record.State) { s.set(func(r *record.Record) { r.State = state }) }

// atRest tells whether the service is not to run until it is asked to.
func (s *service) atRest() bool {
	switch s.note.Get().State {
	case record.Finished, record.Failed, record.Skipped, record.Stopping, record.Stopped:
		return true
	}
	return false
}

// run has the service as it is wanted until ctx is done: running until it is
// over, and from then on as it is asked. It calls up when it runs, or when it
// could not be started; only the first call counts.
func (s *service) run(ctx context.Context, up func(error)) {
	up = first(up)
	s.resume(up)
	for {
		var r *request
		if s.atRest() {
			r = s.rest(ctx)
		} else {
			r = s.live(ctx, up)
		}
		switch {
		case ctx.Err() != nil:
			if r != nil {
				r.reply <- errOvertaken
			}
			return
		case r == nil: // it is over
		case r.verb == Stop:
			s.to(record.Stopping)
			s.clear(ctx)
			r.reply <- ctx.Err()
		default:
			s.to(record.Starting)
			up = first(func(err error) { r.reply <- err })
		}
	}
}

// first calls f once.
func first(f func(error)) func(error) {
	var once sync.Once
	return func(err error) { once.Do(func() { f(err) }) }
}

// resume goes on from where the process before this one was, if there was one.
func (s *service) resume(up func(error)) {
	s.set(func(r *record.Record) {
		r.Ready = false
		if r.State == record.Skipped {
			r.State = record.Waiting
		}
	})
	switch s.note.Get().State {
	case record.Finished:
		up(nil)
	case record.Failed:
		up(errors.New("failed before"))
	case record.Stopping, record.Stopped:
		up(errors.New("stopped before"))
	}
}

// rest waits for a request, or until ctx is done.
func (s *service) rest(ctx context.Context) *request {
	s.clear(ctx)
	select {
	case r := <-s.requests:
		return &r
	case <-ctx.Done():
		return nil
	}
}

// clear sees to it that nothing is left of a service that is being stopped,
// however long containerd is away.
func (s *service) clear(ctx context.Context) {
	for s.note.Get().State == record.Stopping {
		err := s.client.remove(s.in(ctx), s.Name)
		if err == nil {
			s.to(record.Stopped)
			return
		}
		if !sleep(ctx, time.Second) {
			return
		}
		s.Log.Printf("service %s: %v", s.Name, err)
	}
}

// live keeps the service running until it is over, ctx is done, or a request
// comes that ends it.
func (s *service) live(ctx context.Context, up func(error)) *request {
	life, end := context.WithCancel(ctx)
	defer end()
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.keep(life, up)
	}()
	for {
		select {
		case <-over:
			return nil
		case r := <-s.requests:
			if r.verb == Start && s.note.Get().State == record.Running {
				r.reply <- nil
				continue
			}
			if r.verb == Stop {
				s.to(record.Stopping) // whoever takes over goes on with it
			}
			end()
			<-over
			up(errOvertaken)
			return &r
		}
	}
}

// keep starts the service, and again when it ends, until it is over or ctx is
// done.
func (s *service) keep(ctx context.Context, up func(error)) {
	if err := s.await(ctx); err != nil {
		if ctx.Err() == nil {
			s.Log.Printf("service %s: not started: %v", s.Name, err)
			s.to(record.Skipped)
			up(err)
		}
		return
	}
	pause := backoff.Backoff{Restarts: s.note.Get().Restarts}
	for {
		ran, err := s.once(ctx, up)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			up(err)
		}
		if s.over(ran, err) {
			return
		}
		if err == nil {
			err = errors.New("exited with status 0")
		}
		length := time.Duration(0) // of the run; waiting for containerd is none
		if ran {
			length = s.note.Get().Took
		}
		wait := pause.Next(length)
		s.set(func(r *record.Record) {
			r.State, r.Restarts, r.LastExit = record.Pausing, pause.Restarts, exit(err)
		})
		s.Log.Printf("service %s: %s; restart %d in %v", s.Name, oneLine(err), pause.Restarts, wait)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// exit is how a run ended, in a few words.
func exit(err error) string {
	if err == nil {
		return "status 0"
	}
	return strings.TrimPrefix(oneLine(err), "exited with ")
}

// oneLine is an error for a line of the console.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// await waits for those that the service comes after, unless it runs already.
func (s *service) await(ctx context.Context) error {
	if len(s.after) == 0 {
		return nil
	}
	if t, err := s.client.look(s.in(ctx), s.Name); err == nil && t.started {
		return nil
	}
	s.set(func(r *record.Record) { r.State = record.Waiting })
	return s.order.wait(ctx, s.after, func(missing []string, waited time.Duration) {
		s.Log.Printf("service %s: waiting for %s (%.0fs)", s.Name, strings.Join(missing, ", "), waited.Seconds())
	})
}

// over tells whether the service is not to run again after an end, or after err
// came before it ran. It says why.
func (s *service) over(ran bool, err error) bool {
	state := record.Finished
	switch {
	case err == nil && s.restart != always:
		s.Log.Printf("service %s: finished", s.Name)
	// While containerd was away it may have started, or run on: that is no end.
	case err != nil && s.restart == never && (ran || !errors.Is(err, errAway)):
		s.Log.Printf("service %s: %s; not started again, as restart: no says", s.Name, oneLine(err))
		state = record.Failed
	default:
		return false
	}
	s.set(func(r *record.Record) { r.State, r.LastExit = state, exit(err) })
	return true
}

// Verb is what can be asked of a service.
type Verb string

// The verbs.
const (
	Start   Verb = "start"
	Stop    Verb = "stop"
	Restart Verb = "restart"
)

// request asks something of a service. reply takes one answer without waiting.
type request struct {
	verb  Verb
	reply chan<- error
}

// Reasons for which a request is not done.
var (
	ErrNone      = errors.New("there is no such service")
	ErrAway      = errors.New("containerd is away")
	ErrNotYet    = errors.New("not done yet")
	errOvertaken = errors.New("it was stopped before it ran")
)

// Patience is how long a request takes at most, besides the time that a service
// has to stop; so long it waits for containerd.
const Patience = 15 * time.Second

// Ask has a service start, stop (and stay so), or start anew, and returns when
// that is done: nil, or why it could not be.
func (g *Group) Ask(ctx context.Context, name string, verb Verb) error {
	g.mu.Lock()
	s := g.byName[name]
	g.mu.Unlock()
	if s == nil {
		return ErrNone
	}
	for waited := time.Duration(0); !listens(g.Socket); waited += 100 * time.Millisecond {
		if waited > lastMoment || !sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("%w: it does not listen on %s; services run on meanwhile", ErrAway, g.Socket)
		}
	}
	reply := make(chan error, 1)
	select {
	case s.requests <- request{verb, reply}:
	case <-ctx.Done():
		return fmt.Errorf("%w: it is %s", ErrNotYet, s.note.Get().State)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: it is %s", ErrNotYet, s.note.Get().State)
	}
}
