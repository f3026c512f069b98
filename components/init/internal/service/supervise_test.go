package service

import (
	"context"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/internal/bundle"
)

func (f fakeTasks) Exec(_ context.Context, r *tasks.ExecProcessRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, ok := f.tasks[r.ContainerID]; !ok || t.state != task.Status_RUNNING {
		return nil, errNone
	}
	if r.Spec.TypeUrl != processType || r.Terminal || r.Stdin != "" || r.Stdout != "/dev/null" || filepath.Base(r.Stderr) != "stderr" {
		return nil, status.Errorf(codes.InvalidArgument, "%v", r)
	}
	f.ran = append(f.ran, string(r.Spec.Value))
	f.tasks[path(r.ContainerID, r.ExecID)] = &fakeTask{state: task.Status_CREATED, done: make(chan struct{})}
	return &emptypb.Empty{}, nil
}

func (f fakeTasks) DeleteProcess(_ context.Context, r *tasks.DeleteProcessRequest) (*tasks.DeleteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[path(r.ContainerID, r.ExecID)]
	switch {
	case !ok:
		return nil, errNone
	case t.state == task.Status_RUNNING:
		return nil, status.Error(codes.Unknown, "cannot delete a running process")
	}
	delete(f.tasks, path(r.ContainerID, r.ExecID))
	return &tasks.DeleteResponse{}, nil
}

// runtime is the runtime.json of a service.
func (s *system) runtime(name string) *bundle.Runtime {
	for _, b := range s.list {
		if b.Name == name {
			return &b.Runtime
		}
	}
	return nil
}

// again makes s another process of the same system.
func (s *system) again() {
	s.Group = &Group{Log: s.Log, Console: s.Console, Logs: s.Logs, Socket: s.Socket, State: s.State, Cgroup: s.Cgroup, Helper: s.Helper, StopTimeout: s.StopTimeout}
	s.out.Reset()
}

// quick is a check that runs a command often.
func quick() *bundle.Healthcheck {
	return &bundle.Healthcheck{Exec: []string{"/check"}, Interval: "10ms", Retries: 2, StartPeriod: "0s"}
}

func TestPolicies(t *testing.T) {
	s := newSystem(t, map[string][]int{"always": {0, -1}, "no": {3}, "good": {0}, "odd": {2, -1}})
	s.runtime("always").Restart = "always"
	s.runtime("no").Restart = "no"
	s.runtime("good").Restart = "no"
	s.runtime("odd").Restart = "sometimes"
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `4 services running`, `service always: exited with status 0; restart 1 in 100ms`,
		`service no: exited with status 3; not started again, as restart: no says`, `service good: finished`,
		`service odd: restart: sometimes is not`, `service odd: exited with status 2; restart 1`, `(?s)said by odd.*said by odd`,
		`(?s)said by always.*said by always`)
	s.again()
	s.until(t, `3 of 4 services running`)
	if s.fake.starts["no"] != 1 || s.fake.starts["good"] != 1 {
		t.Errorf("what was over has run again: %v", s.fake.starts)
	}
}

func TestNoWithoutContainerd(t *testing.T) {
	s := newSystem(t, map[string][]int{"no": {-1}})
	s.runtime("no").Restart = "no"
	note, err := record.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sv := &service{Group: s.Group, Bundle: s.list[0], order: newOrder(), restart: never, note: note}
	if sv.over(false, errAway) {
		t.Error("a start that containerd's end prevented is taken for an end")
	}
}

func TestAfter(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}, "b": {-1}, "c": {0}, "d": {-1}})
	s.fake.execs = map[string][]int{"d": {1, 0}, "c": {1}}
	s.runtime("a").After = []string{"b", "nobody"}
	s.runtime("b").After = []string{"c", "d"}
	s.runtime("c").Healthcheck = quick()
	s.runtime("d").Healthcheck = quick()
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `4 services running`, `service a: after: there is no service nobody; not waiting for it`)
	order := s.fake.order
	slices.Sort(order[:2])
	if !slices.Equal(order, []string{"c", "d", "b", "a"}) {
		t.Errorf("started in this order: %v", order)
	}
	if s.fake.starts["d exec"] < 2 {
		t.Error("b was started before d was healthy")
	}
	if !strings.Contains(s.fake.ran[0], `"args":["/check"]`) {
		t.Errorf("run in the container: %s", s.fake.ran[0])
	}
}

func TestAfterFailure(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}, "b": {-1}, "c": {-1}, "d": {-1}})
	s.fake.execs = map[string][]int{"a": {7}}
	s.runtime("a").Restart = "no"
	s.runtime("a").Healthcheck = quick()
	s.runtime("b").After = []string{"a"}
	s.runtime("c").After = []string{"b", "d"}
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	said := []string{`service b: not started: a failed`, `service c: not started: b was not started`, `2 of 4 services running`}
	s.until(t, append(said, `service a: unhealthy: /check: exited with status 7; stopping it`,
		`service a: was unhealthy; not started again, as restart: no says`)...)
	if n := strings.Count(s.said(), "stopping it"); n != 1 {
		t.Errorf("stopped %d times", n)
	}
	s.again()
	s.until(t, append(said[:2:2], `1 of 4 services running`)...)
	if want := map[string]int{"a": 1, "a exec": 2, "d": 2}; !maps.Equal(s.fake.starts, want) {
		t.Errorf("started %v, want %v", s.fake.starts, want)
	}
}

func TestCycle(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}, "b": {-1}, "c": {-1}})
	s.runtime("a").After = []string{"b"}
	s.runtime("b").After = []string{"a"}
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `said by c`)
	if want := map[string]int{"c": 1}; !maps.Equal(s.fake.starts, want) {
		t.Errorf("started %v, want %v", s.fake.starts, want)
	}
}

func TestUnhealthy(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}, "b": {-1}})
	s.fake.deaf = true
	s.fake.execs = map[string][]int{"a": {0, 1, 0, 1, 1, 0}, "b": {0}}
	s.runtime("a").Healthcheck = quick()
	s.runtime("b").Healthcheck = quick()
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `service a: unhealthy: /check: exited with status 1; stopping it`, `service a: still there after 100ms; killing it`,
		`service a: was unhealthy; restart 1 in 100ms`, `(?s)said by a.*said by a`)
	if s.fake.starts["b"] != 1 || len(s.fake.tasks) > 0 {
		t.Errorf("started %v, left %v", s.fake.starts, s.fake.tasks)
	}
}

func TestCheckTimeout(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}})
	s.fake.execs = map[string][]int{"a": {-1}}
	s.runtime("a").Healthcheck = quick()
	s.runtime("a").Healthcheck.Timeout = "50ms"
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `service a: unhealthy: no success within 50ms: .*; stopping it`, `restart 1`)
	if kills := s.fake.kills["a exec"]; len(kills) < 2 || kills[0] != uint32(unix.SIGKILL) {
		t.Errorf("sent %v to what hung", kills)
	}
	if len(s.fake.tasks) > 0 {
		t.Errorf("left behind: %v", s.fake.tasks)
	}
}

func TestCheckTakeOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSystem(t, map[string][]int{"a": {-1}, "b": {-1}})
	s.fake.made["a"] = "old"
	s.fake.tasks["a"] = &fakeTask{state: task.Status_RUNNING, done: make(chan struct{})}
	s.runtime("a").After = []string{"b"} // which comes after it now
	s.runtime("a").Healthcheck = &bundle.Healthcheck{TCP: l.Addr().String(), Interval: "10ms"}
	s.runtime("b").After = []string{"a"}
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `2 services running`, `said by b`)
	if s.fake.starts["a"] != 0 {
		t.Error("what ran was started")
	}
}

// TestCheckWithoutContainerd has a service that is well, which cannot be asked
// for a while.
func TestCheckWithoutContainerd(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}})
	s.fake.execs = map[string][]int{"a": {0, 0, -1, 0}} // containerd goes during the third
	s.runtime("a").Healthcheck = quick()
	s.runtime("a").Healthcheck.Timeout = "100ms"
	s.runtime("a").Healthcheck.Retries = 1
	last := make(chan func(), 1)
	go func() {
		first := s.fake.serve(t, s.Socket)
		checks := func() int {
			s.fake.mu.Lock()
			defer s.fake.mu.Unlock()
			return s.fake.starts["a exec"]
		}
		for checks() < 3 {
			time.Sleep(5 * time.Millisecond)
		}
		first()
		time.Sleep(300 * time.Millisecond)
		before := checks()
		last <- s.fake.serve(t, s.Socket)
		for checks() < before+3 {
			time.Sleep(5 * time.Millisecond)
		}
		s.Log.Print("checked again")
	}()
	s.until(t, `checked again`)
	(<-last)()
	if strings.Contains(s.said(), "unhealthy") {
		t.Errorf("said:\n%s", s.said())
	}
}

func TestBadHealthcheck(t *testing.T) {
	s := newSystem(t, map[string][]int{"a": {-1}})
	s.runtime("a").Healthcheck = &bundle.Healthcheck{TCP: "http"}
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `service a: healthcheck: tcp: "http" is not a port; doing without`, `1 service running`)
}
