package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/bundle"
)

// runServices starts every service, watches them, and stops them when ctx ends.
func runServices(ctx context.Context, o options) {
	list := bundles(servicesDir)
	if len(list) == 0 {
		say("no services to start, %.1fs after the kernel", uptime().Seconds())
		return
	}
	// containerd outlives ctx: it is needed to stop the services.
	life, stop := context.WithCancel(context.Background())
	defer stop()
	go keepRunning(life)
	d, err := connect()
	if err != nil {
		say("connecting to containerd: %v", err)
		return
	}
	if err := d.await(ctx); err != nil {
		return
	}
	var up atomic.Int32
	var first, all sync.WaitGroup
	for _, b := range list {
		first.Add(1)
		s := &service{Bundle: b, daemon: d, options: o}
		started := sync.OnceFunc(first.Done)
		all.Go(func() {
			defer started()
			s.run(ctx, func() { up.Add(1); started() })
		})
	}
	first.Wait()
	if ctx.Err() == nil {
		say("%d of %d services running, %.1fs after the kernel", up.Load(), len(list), uptime().Seconds())
	}
	all.Wait()
	<-ctx.Done()
}

// service is one container that is kept running.
type service struct {
	*bundle.Bundle
	daemon  *daemon
	options options

	spec           []byte
	namespace      string
	stdout, stderr string // FIFOs
	restarts       int
}

// Times between the end of a service and its next start.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 30 * time.Second
	healthy    = 10 * time.Second // after which the delay begins anew
)

// delay is how long to wait after one that was last, and a run of ran.
func delay(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= healthy {
		return firstDelay
	}
	return min(2*last, maxDelay)
}

// run starts the service, and starts it again when it fails. One that ends with
// status 0 has done its work. up is called when it first runs.
func (s *service) run(ctx context.Context, up func()) {
	if err := s.prepare(); err != nil {
		say("service %s: %v", s.Name, err)
		return
	}
	var wait time.Duration
	for {
		began := time.Now()
		status, err := s.once(ctx, up)
		if ctx.Err() != nil {
			return
		}
		if err == nil && status == 0 {
			say("service %s: finished", s.Name)
			return
		}
		wait = delay(wait, time.Since(began))
		s.restarts++
		if err != nil {
			say("service %s: %v; restart %d in %s", s.Name, err, s.restarts, wait)
		} else {
			say("service %s: exited with status %d; restart %d in %s", s.Name, status, s.restarts, wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// prepare makes the service's mounts and FIFOs, and opens its logs.
func (s *service) prepare() error {
	s.namespace = cmp.Or(s.Runtime.Namespace, defaultNamespace)
	var err error
	if s.spec, err = spec(s.Bundle, "/services/"+s.Name); err != nil {
		return err
	}
	dir := filepath.Join("/run/lkx/fifo", s.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.stdout, s.stderr = filepath.Join(dir, "out"), filepath.Join(dir, "err")
	for fifo, path := range map[string]string{s.stdout: s.Name + ".out.log", s.stderr: s.Name + ".log"} {
		if err := keep(fifo, newLog(s.Name, filepath.Join("/var/log", path), s.options.logConsole)); err != nil {
			return err
		}
	}
	return nil
}

// keep copies what comes through a FIFO for ever.
func keep(fifo string, to io.Writer) error {
	if err := unix.Mkfifo(fifo, 0o600); err != nil && err != unix.EEXIST {
		return fmt.Errorf("making %s: %w", fifo, err)
	}
	// Open for both: a reader alone would see the end whenever a service ends.
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	go func() {
		defer f.Close()
		_, _ = io.Copy(to, f)
	}()
	return nil
}

// once runs the service until it ends, or until ctx ends and it is stopped. One
// that runs already, because this program was started again, is taken over.
func (s *service) once(ctx context.Context, up func()) (uint32, error) {
	c := in(context.WithoutCancel(ctx), s.namespace)
	if _, running := s.daemon.running(c, s.Name); !running {
		if _, err := s.daemon.create(c, s.Name, s.spec, s.stdout, s.stderr); err != nil {
			return 0, err
		}
		if err := s.daemon.start(c, s.Name); err != nil {
			return 0, err
		}
	}
	up()
	ended := make(chan struct{})
	var status uint32
	var err error
	go func() {
		defer close(ended)
		status, err = s.daemon.wait(c, s.Name)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		s.stop(c, ended)
		return 0, ctx.Err()
	}
	if rerr := s.daemon.remove(c, s.Name); err == nil {
		err = rerr
	}
	return status, err
}

// stop asks the service to end, and makes it.
func (s *service) stop(ctx context.Context, ended <-chan struct{}) {
	if err := s.daemon.kill(ctx, s.Name, uint32(unix.SIGTERM)); err != nil {
		say("service %s: stopping it: %v", s.Name, err)
	}
	select {
	case <-ended:
		return
	case <-time.After(s.options.stopTimeout):
	}
	say("service %s: did not stop within %s; killing it", s.Name, s.options.stopTimeout)
	_ = s.daemon.kill(ctx, s.Name, uint32(unix.SIGKILL))
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		say("service %s: cannot be killed", s.Name)
	}
}
