// Package service runs the system's services: containers that containerd starts
// one after the other where they ask for that, that are checked, and started
// again when they fail.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/health"
	"github.com/lkx-os/lkx/components/init/internal/oom"
	"github.com/lkx-os/lkx/components/internal/backoff"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/logs"
)

// service is one container that is kept running.
type service struct {
	*Group
	*bundle.Bundle
	client *client
	in     func(context.Context) context.Context // containerd's namespace
	order  *order

	restart string        // one of the policies
	after   []string      // services that are there
	check   *health.Check // nil for none

	stdout, stderr string // FIFOs to which the container writes
}

// Policies of what is done at a service's end.
const (
	onFailure = "on-failure"
	always    = "always"
	never     = "no"
)

// errUnhealthy is the end of a service that was stopped for what its checks said.
var errUnhealthy = errors.New("was unhealthy")

// newService opens a service's outputs. Copying ends with each of the FIFOs.
func (g *Group) newService(c *client, b *bundle.Bundle, o *order) (*service, error) {
	namespace := b.Runtime.Namespace
	if namespace == "" {
		namespace = defaultNamespace
	}
	s := &service{Group: g, Bundle: b, client: c, order: o, in: func(ctx context.Context) context.Context { return in(ctx, namespace) }}
	dir := filepath.Join(g.State, b.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the service's directory: %w", err)
	}
	s.stdout, s.stderr = filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
	for fifo, log := range map[string]string{s.stdout: b.Name + ".out.log", s.stderr: b.Name + ".log"} {
		if err := g.keep(fifo, logs.Open(filepath.Join(g.Logs, log), "["+b.Name+"] ", g.Console)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// keep copies what comes through a FIFO until the group has ended.
func (g *Group) keep(fifo string, to io.WriteCloser) error {
	if err := unix.Mkfifo(fifo, 0o600); err != nil && err != unix.EEXIST {
		return fmt.Errorf("making %s: %w", fifo, err)
	}
	// Open for both ends, it neither waits for a writer nor ends with one: the
	// same serves all runs of the service, and those who took over from another
	// process.
	f, err := os.OpenFile(fifo, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening the service's output: %w", err)
	}
	g.fifos = append(g.fifos, f)
	g.copies.Go(func() {
		defer to.Close()
		_, _ = io.Copy(to, f) // ends when g lets it
	})
	return nil
}

// configure reads how the service is supervised. What cannot be followed, which
// the builder does not let through, is said and left out: it starts all the same.
func (s *service) configure(exists func(string) bool) {
	switch s.restart = cmp.Or(s.Runtime.Restart, onFailure); s.restart {
	case onFailure, always, never:
	default:
		s.Log.Printf("service %s: restart: %s is not on-failure, always or no; taking on-failure", s.Name, s.restart)
		s.restart = onFailure
	}
	for _, name := range s.Runtime.After {
		if exists(name) {
			s.after = append(s.after, name)
		} else {
			s.Log.Printf("service %s: after: there is no service %s; not waiting for it", s.Name, name)
		}
	}
	if s.Runtime.Healthcheck == nil {
		return
	}
	check, err := health.New(s.Runtime.Healthcheck)
	if err != nil {
		s.Log.Printf("service %s: healthcheck: %v; doing without", s.Name, err)
		return
	}
	s.check = check
}

// Files in a service's directory that outlive this process: such a service is
// not to run again.
const (
	doneFile   = "done"   // it ended well
	failedFile = "failed" // it failed, and the policy is never
)

func (s *service) noted(name string) bool {
	_, err := os.Stat(filepath.Join(s.State, s.Name, name))
	return err == nil
}

func (s *service) note(name string) {
	if err := os.WriteFile(filepath.Join(s.State, s.Name, name), nil, 0o600); err != nil {
		s.Log.Printf("service %s: %v", s.Name, err)
	}
}

// run keeps the service running until it is over or ctx is done. It calls up
// when it runs, or when it could not be started; only the first call counts.
func (s *service) run(ctx context.Context, up func(error)) {
	switch {
	case s.noted(doneFile):
		s.order.set(s.Name, finished)
		up(nil)
		return
	case s.noted(failedFile):
		s.order.set(s.Name, failed)
		up(errors.New("failed before"))
		return
	}
	if err := s.await(ctx); err != nil {
		if ctx.Err() == nil {
			s.Log.Printf("service %s: not started: %v", s.Name, err)
			s.order.set(s.Name, skipped)
			up(err)
		}
		return
	}
	var pause backoff.Backoff
	for {
		started := time.Now()
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
		wait := pause.Next(time.Since(started))
		s.Log.Printf("service %s: %v; restart %d in %v", s.Name, err, pause.Restarts, wait)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// await waits for those that the service comes after, unless it runs already.
func (s *service) await(ctx context.Context) error {
	if len(s.after) == 0 {
		return nil
	}
	if t, err := s.client.look(s.in(ctx), s.Name); err == nil && t.started {
		return nil
	}
	return s.order.wait(ctx, s.after, func(missing []string, waited time.Duration) {
		s.Log.Printf("service %s: waiting for %s (%.0fs)", s.Name, strings.Join(missing, ", "), waited.Seconds())
	})
}

// over tells whether the service is not to run again after an end, or after err
// came before it ran. It says why.
func (s *service) over(ran bool, err error) bool {
	switch {
	case err == nil && s.restart != always:
		s.Log.Printf("service %s: finished", s.Name)
		s.note(doneFile)
		s.order.set(s.Name, finished)
		return true
	// While containerd was away it may have started, or run on: that is no end.
	case err != nil && s.restart == never && (ran || !errors.Is(err, errAway)):
		s.Log.Printf("service %s: %v; not started again, as restart: no says", s.Name, err)
		s.note(failedFile)
		s.order.set(s.Name, failed)
		return true
	}
	return false
}

// once runs the service to its end, or takes it over if it runs. When ctx is
// done it stops the service. It tells whether the service came to run.
func (s *service) once(ctx context.Context, up func(error)) (ran bool, err error) {
	call := s.in(ctx)
	t, err := s.client.look(call, s.Name)
	if err == nil && !t.started {
		t, err = s.start(call)
	}
	if err != nil {
		return false, err
	}
	up(nil)
	defer s.order.set(s.Name, unready)
	if t.running && s.check == nil {
		s.order.set(s.Name, ready)
	}
	return true, s.attend(ctx, t)
}

// attend waits for the service's end, and stops it when ctx is done or when it
// is unhealthy.
func (s *service) attend(ctx context.Context, t taskState) error {
	// The service outlives ctx, as it has to be stopped then.
	life, cancel := context.WithCancel(context.WithoutCancel(s.in(ctx)))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.wait(life) }()
	sick, unwatch := s.watch(life, t)
	var err error
	select {
	case err = <-ended:
		unwatch()
	case why := <-sick:
		unwatch()
		s.Log.Printf("service %s: unhealthy: %v; stopping it", s.Name, why)
		s.stop(life, ended)
		err = errUnhealthy
	case <-ctx.Done():
		unwatch()
		s.stop(life, ended)
	}
	last, cancelLast := context.WithTimeout(life, lastMoment)
	defer cancelLast()
	// What is left, as when this took too long, goes before the next start: it
	// says nothing about the service.
	if rerr := s.client.remove(last, s.Name); rerr != nil {
		s.Log.Printf("service %s: %v", s.Name, rerr)
	}
	return err
}

// watch checks the service, if it has checks, until unwatch is called. sick
// gets the last failure when it is unhealthy.
func (s *service) watch(ctx context.Context, t taskState) (sick <-chan error, unwatch func()) {
	if s.check == nil || !t.running {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	target := health.Target{
		Net: fmt.Sprintf("/proc/%d/ns/net", t.pid),
		Exec: func(ctx context.Context, args []string) error {
			process, err := s.Process(args)
			if err == nil {
				err = s.client.exec(ctx, s.Name, process)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		},
	}
	result, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		err := s.check.Watch(ctx, target, func() { s.order.set(s.Name, ready) })
		if ctx.Err() == nil {
			result <- err
		}
	}()
	return result, func() {
		cancel()
		<-done
	}
}

func (s *service) start(ctx context.Context) (taskState, error) {
	if err := s.Prepare(); err != nil {
		return taskState{}, err
	}
	spec, err := s.Spec(filepath.Join(s.Cgroup, s.Name), s.Helper)
	if err != nil {
		return taskState{}, err
	}
	return s.client.start(ctx, s.Name, spec, s.stdout, s.stderr)
}

// wait waits for the service's end, which is an error unless its status is 0.
func (s *service) wait(ctx context.Context) error {
	code, err := s.client.wait(ctx, s.Name)
	if err == nil && code != 0 {
		// It could be started, so its settings can be read. Its cgroup goes with
		// the container only.
		settings, _ := s.Settings()
		kills := oom.Kills(cmp.Or(settings.Cgroup, filepath.Join(s.Cgroup, s.Name)))
		err = errors.New(oom.Ending(code, kills, settings.Memory))
	}
	return err
}

// stop asks the service to end, and after a while makes it.
func (s *service) stop(ctx context.Context, ended <-chan error) {
	ctx, cancel := context.WithTimeout(ctx, s.StopTimeout+lastMoment)
	defer cancel()
	if err := s.client.kill(ctx, s.Name, unix.SIGTERM); err != nil {
		s.Log.Printf("service %s: %v", s.Name, err)
	}
	select {
	case <-ended:
		return
	case <-time.After(s.StopTimeout):
	}
	s.Log.Printf("service %s: still there after %v; killing it", s.Name, s.StopTimeout)
	if err := s.client.kill(ctx, s.Name, unix.SIGKILL); err != nil {
		s.Log.Printf("service %s: %v", s.Name, err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		s.Log.Printf("service %s: cannot be killed", s.Name)
	}
}
