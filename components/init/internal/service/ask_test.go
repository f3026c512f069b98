package service

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/record"
)

// running runs the system until the returned function is called.
func (s *system) running(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, s.list) }()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(s.said(), "running, ") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (s *system) record(t *testing.T, name string) record.Record {
	t.Helper()
	r, err := record.Read(filepath.Join(s.State, name))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask asks for something that must be done.
func (s *system) ask(t *testing.T, name string, verb Verb) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Ask(ctx, name, verb); err != nil {
		t.Errorf("%s %s: %v", verb, name, err)
	}
}

func TestAsk(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}, "good": {0, -1}, "pausing": {3, 3, 3, 3, 3, 3, 3, 3, -1}})
	stopFake := s.fake.serve(t, s.Socket)
	defer stopFake()
	stop := s.running(t)
	s.ask(t, "a", Start) // runs: nothing is done
	s.ask(t, "a", Stop)
	s.ask(t, "a", Stop)
	if r := s.record(t, "a"); r.State != record.Stopped || r.PID != 0 || s.fake.starts["a"] != 1 {
		t.Errorf("stopped: %+v after %d starts", r, s.fake.starts["a"])
	}
	if want := []uint32{uint32(unix.SIGTERM)}; !slices.Equal(s.fake.kills["a"], want) {
		t.Errorf("sent %v, want %v", s.fake.kills["a"], want)
	}
	s.ask(t, "good", Start) // what has finished
	s.ask(t, "pausing", Stop)
	if r := s.record(t, "pausing"); r.State != record.Stopped || r.Restarts == 0 || r.LastExit != "status 3" {
		t.Errorf("stopped in a pause: %+v", r)
	}
	if r := s.record(t, "good"); r.State != record.Running || !r.Ready || s.fake.starts["good"] != 2 {
		t.Errorf("started again: %+v after %d starts", r, s.fake.starts["good"])
	}
	s.ask(t, "good", Restart)
	if s.fake.starts["good"] != 3 {
		t.Errorf("%d starts", s.fake.starts["good"])
	}
	if err := s.Ask(t.Context(), "nobody", Stop); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	stop()
	// Another process takes over: what was stopped stays so, and can be started.
	s.again()
	stop = s.running(t)
	defer func() { stop() }()
	if r := s.record(t, "a"); r.State != record.Stopped || s.fake.starts["a"] != 1 {
		t.Errorf("taken over: %+v after %d starts", r, s.fake.starts["a"])
	}
	s.ask(t, "a", Start)
	if r := s.record(t, "a"); r.State != record.Running || r.PID == 0 || s.fake.starts["a"] != 2 {
		t.Errorf("started: %+v after %d starts", r, s.fake.starts["a"])
	}
}

// TestAskStopHalfway has a process that died while it stopped a service.
func TestAskStopHalfway(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}})
	stopFake := s.fake.serve(t, s.Socket)
	defer stopFake()
	s.running(t)()
	n, err := record.Open(filepath.Join(s.State, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Change(func(r *record.Record) { r.State = record.Stopping }); err != nil {
		t.Fatal(err)
	}
	s.fake.made["a"], s.fake.tasks["a"] = "old", &fakeTask{state: 2, done: make(chan struct{})}
	s.again()
	s.until(t, "0 of 1 services running")
	for end := time.Now().Add(10 * time.Second); s.record(t, "a").State != record.Stopped && time.Now().Before(end); {
		s.again()
		s.until(t, "0 of 1 services running")
	}
	if r := s.record(t, "a"); r.State != record.Stopped || len(s.fake.tasks) > 0 {
		t.Errorf("taken over: %+v, %v", r, s.fake.tasks)
	}
}

func TestAskAway(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}})
	stopFake := s.fake.serve(t, s.Socket)
	stop := s.running(t)
	stopFake()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Ask(ctx, "a", Stop); !errors.Is(err, ErrAway) {
		t.Errorf("got %v", err)
	}
	if r := s.record(t, "a"); r.State != record.Running {
		t.Errorf("what could not be asked is %s", r.State)
	}
	stopFake = s.fake.serve(t, s.Socket)
	defer func() { stopFake() }()
	s.ask(t, "a", Stop)
	stop()
}

func TestAskNotReady(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}, "b": {-1}})
	s.runtime("b").After = []string{"a"}
	s.runtime("a").Healthcheck = quick()
	s.fake.execs = map[string][]int{"a": {-1}}
	s.runtime("a").Healthcheck.StartPeriod = "1h"
	stopFake := s.fake.serve(t, s.Socket)
	defer stopFake()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, s.list) }()
	for s.record(t, "b").State != record.Waiting || s.record(t, "a").Health != "starting" {
		time.Sleep(5 * time.Millisecond)
	}
	short, cancelShort := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancelShort()
	if err := s.Ask(short, "b", Start); !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "it is waiting") {
		t.Errorf("got %v", err)
	}
	s.ask(t, "b", Stop)
	cancel()
	if err := <-ended; err != nil || s.fake.starts["b"] > 0 {
		t.Errorf("%v after %d starts", err, s.fake.starts["b"])
	}
}
