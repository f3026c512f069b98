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
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/health"
	"github.com/lkx-os/lkx/components/init/internal/oom"
	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/logs"
	"github.com/lkx-os/lkx/components/internal/uptime"
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

	note     *record.Note
	requests chan request

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
	s := &service{
		Group: g, Bundle: b, client: c, order: o, requests: make(chan request),
		in: func(ctx context.Context) context.Context { return in(ctx, namespace) },
	}
	dir := filepath.Join(g.State, b.Name)
	var err error
	if s.note, err = record.Open(dir); err != nil {
		return nil, err
	}
	s.stdout, s.stderr = filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
	for fifo, name := range map[string]string{s.stdout: b.Name + ".out", s.stderr: b.Name} {
		log := g.Keeper.Open(logs.Source{
			Path: filepath.Join(g.Logs, name+".log"), Name: name, Prefix: "[" + b.Name + "] ", Console: g.Console,
		})
		if err := g.keep(fifo, log); err != nil {
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
	s.set(func(r *record.Record) {
		r.State, r.PID, r.Ready, r.Health = record.Running, t.pid, t.running && s.check == nil, ""
		if s.check != nil {
			r.Health = "starting"
		}
	})
	up(nil)
	err = s.attend(ctx, t)
	s.set(func(r *record.Record) {
		if r.State == record.Running { // and not being stopped
			r.State, r.Took = record.Waiting, uptime.Now()-r.Since
		}
		r.PID, r.Ready, r.Health, r.LastExit = 0, false, "", exit(err)
	})
	return true, err
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
		s.set(func(r *record.Record) { r.Ready, r.Health = false, "unhealthy" })
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
				err = s.client.exec(ctx, s.Name, process, s.stderr)
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
		err := s.check.Watch(ctx, target, func() {
			s.set(func(r *record.Record) { r.Ready, r.Health = true, "healthy" })
		})
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
	s.set(func(r *record.Record) { r.State, r.Cgroup = record.Starting, bundle.CgroupOf(spec) })
	return s.client.start(ctx, s.Name, spec, s.stdout, s.stderr)
}

// wait waits for the service's end, which is an error unless its status is 0.
func (s *service) wait(ctx context.Context) error {
	code, err := s.client.wait(ctx, s.Name)
	if err == nil && code != 0 {
		// It could be started, so its settings can be read. Its cgroup goes with
		// the container only.
		settings, _ := s.Settings()
		err = errors.New(oom.Ending(code, oom.Kills(s.note.Get().Cgroup), settings.Memory))
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
