// Package service runs the system's services: containers that containerd starts
// and that are started again when they fail.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

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

	stdout, stderr string // FIFOs to which the container writes
}

// newService opens a service's outputs. Copying ends with each of the FIFOs.
func (g *Group) newService(c *client, b *bundle.Bundle) (*service, error) {
	namespace := b.Runtime.Namespace
	if namespace == "" {
		namespace = defaultNamespace
	}
	s := &service{Group: g, Bundle: b, client: c, in: func(ctx context.Context) context.Context { return in(ctx, namespace) }}
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

// done is the file that says that the service ended well and is not to run again.
func (s *service) done() string { return filepath.Join(s.State, s.Name, "done") }

// run keeps the service running until it ends well or ctx is done. It calls up
// once, when it runs or when it could not be started.
func (s *service) run(ctx context.Context, up func(error)) {
	if _, err := os.Stat(s.done()); err == nil {
		up(nil)
		return
	}
	var pause backoff.Backoff
	for {
		started := time.Now()
		err := s.once(ctx, up)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.Log.Printf("service %s: finished", s.Name)
			if err := os.WriteFile(s.done(), nil, 0o600); err != nil {
				s.Log.Printf("service %s: %v", s.Name, err)
			}
			return
		}
		up(err)
		wait := pause.Next(time.Since(started))
		s.Log.Printf("service %s: %v; restart %d in %v", s.Name, err, pause.Restarts, wait)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// once runs the service to its end, or takes it over if it runs. When ctx is
// done it stops the service.
func (s *service) once(ctx context.Context, up func(error)) error {
	call := s.in(ctx)
	running, err := s.client.running(call, s.Name)
	if err != nil {
		return err
	}
	if !running {
		if err := s.start(call); err != nil {
			return err
		}
	}
	up(nil)
	// The service outlives ctx, as it has to be stopped then.
	life, cancel := context.WithCancel(context.WithoutCancel(call))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.wait(life) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		s.stop(life, ended)
	}
	last, cancelLast := context.WithTimeout(life, lastMoment)
	defer cancelLast()
	return errors.Join(err, s.client.remove(last, s.Name))
}

func (s *service) start(ctx context.Context) error {
	if err := s.Prepare(); err != nil {
		return err
	}
	spec, err := s.Spec(filepath.Join(s.Cgroup, s.Name), s.Helper)
	if err != nil {
		return err
	}
	return s.client.start(ctx, s.Name, spec, s.stdout, s.stderr)
}

// wait waits for the service's end, which is an error unless its status is 0.
func (s *service) wait(ctx context.Context) error {
	code, err := s.client.wait(ctx, s.Name)
	if err == nil && code != 0 {
		err = fmt.Errorf("exited with status %d", code)
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
