package service

import (
	"bytes"
	"context"
	"io"
	"log"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/bundle"
)

// fake is a containerd whose containers end with the statuses of a script, one
// for each run; a negative one says that it runs until it is killed.
type fake struct {
	mu     sync.Mutex
	script map[string][]int
	made   map[string]string // spec of each container
	tasks  map[string]*fakeTask
	starts map[string]int
	kills  map[string][]uint32
	deaf   bool             // to SIGTERM
	order  []string         // in which containers were started
	execs  map[string][]int // like script, for what is run in a container
	ran    []string         // specs of what was
}

type fakeTask struct {
	state  task.Status
	code   int
	stdout string
	done   chan struct{}
}

func newFake(script map[string][]int) *fake {
	return &fake{script: script, made: map[string]string{}, tasks: map[string]*fakeTask{}, starts: map[string]int{}, kills: map[string][]uint32{}}
}

var errNone = status.Error(codes.NotFound, "not found")

// path is what a task, or another process in its container, is called in fake.tasks.
func path(container, exec string) string { return filepath.Join(container, exec) }

// fakeContainers is one of the API's services.
type fakeContainers struct {
	containers.UnimplementedContainersServer
	*fake
}

func (f fakeContainers) Create(_ context.Context, r *containers.CreateContainerRequest) (*containers.CreateContainerResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.made[r.Container.ID]; ok {
		return nil, status.Error(codes.AlreadyExists, "already exists")
	}
	f.made[r.Container.ID] = string(r.Container.Spec.Value)
	return &containers.CreateContainerResponse{}, nil
}

func (f fakeContainers) Delete(_ context.Context, r *containers.DeleteContainerRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.made[r.ID]; !ok {
		return nil, errNone
	}
	delete(f.made, r.ID)
	return &emptypb.Empty{}, nil
}

// fakeTasks is the API's other service.
type fakeTasks struct {
	tasks.UnimplementedTasksServer
	*fake
}

func (f fakeTasks) Create(_ context.Context, r *tasks.CreateTaskRequest) (*tasks.CreateTaskResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.made[r.ContainerID]; !ok {
		return nil, errNone
	}
	f.tasks[r.ContainerID] = &fakeTask{state: task.Status_CREATED, stdout: r.Stdout, done: make(chan struct{})}
	return &tasks.CreateTaskResponse{}, nil
}

func (f fakeTasks) Start(_ context.Context, r *tasks.StartRequest) (*tasks.StartResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, script := r.ContainerID, f.script[r.ContainerID]
	if r.ExecID != "" {
		script = f.execs[key]
		key += " exec"
	} else {
		f.order = append(f.order, key)
	}
	t, run := f.tasks[path(r.ContainerID, r.ExecID)], f.starts[key]
	t.state = task.Status_RUNNING
	f.starts[key]++
	if t.stdout != "" {
		if err := os.WriteFile(t.stdout, []byte("said by "+key+"\n"), 0); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	if code := script[min(run, len(script)-1)]; code >= 0 {
		f.end(t, code)
	}
	return &tasks.StartResponse{Pid: uint32(os.Getpid())}, nil
}

func (f *fake) end(t *fakeTask, code int) {
	if t.state != task.Status_STOPPED {
		t.state, t.code = task.Status_STOPPED, code
		close(t.done)
	}
}

func (f fakeTasks) Get(_ context.Context, r *tasks.GetRequest) (*tasks.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[r.ContainerID]
	if !ok {
		return nil, errNone
	}
	return &tasks.GetResponse{Process: &task.Process{Status: t.state, Pid: uint32(os.Getpid())}}, nil
}

func (f fakeTasks) Wait(ctx context.Context, r *tasks.WaitRequest) (*tasks.WaitResponse, error) {
	f.mu.Lock()
	t, ok := f.tasks[path(r.ContainerID, r.ExecID)]
	f.mu.Unlock()
	if !ok {
		return nil, errNone
	}
	select {
	case <-t.done:
		return &tasks.WaitResponse{ExitStatus: uint32(t.code)}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f fakeTasks) Kill(_ context.Context, r *tasks.KillRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[path(r.ContainerID, r.ExecID)]
	if !ok {
		return nil, errNone
	}
	if t.state == task.Status_RUNNING {
		key := r.ContainerID
		if r.ExecID != "" {
			key += " exec"
		}
		f.kills[key] = append(f.kills[key], r.Signal)
	}
	if !f.deaf || r.Signal == uint32(unix.SIGKILL) {
		f.end(t, 128+int(r.Signal))
	}
	return &emptypb.Empty{}, nil
}

func (f fakeTasks) Delete(_ context.Context, r *tasks.DeleteTaskRequest) (*tasks.DeleteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[r.ContainerID]
	if !ok {
		return nil, errNone
	}
	if t.state == task.Status_RUNNING {
		return nil, status.Error(codes.FailedPrecondition, "it runs")
	}
	delete(f.tasks, r.ContainerID)
	return &tasks.DeleteResponse{}, nil
}

// serve lets the fake listen until the returned function is called.
func (f *fake) serve(t *testing.T, socket string) func() {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	containers.RegisterContainersServer(s, fakeContainers{fake: f})
	tasks.RegisterTasksServer(s, fakeTasks{fake: f})
	go func() { _ = s.Serve(l) }()
	return s.Stop
}

// system is a group of services on a fake containerd.
type system struct {
	*Group
	fake *fake
	list []*bundle.Bundle

	mu  sync.Mutex
	out bytes.Buffer // what the log and the services said
}

func (s *system) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *system) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func newSystem(t *testing.T, script map[string][]int) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{fake: newFake(script)}
	s.Group = &Group{
		Log: log.New(s, "lkx: ", 0), Console: io.Writer(s), Logs: dir, Socket: filepath.Join(dir, "socket"),
		State: filepath.Join(dir, "state"), Cgroup: "/services", Helper: "/helper", StopTimeout: 100 * time.Millisecond,
	}
	for _, name := range slices.Sorted(maps.Keys(script)) {
		b := &bundle.Bundle{Dir: filepath.Join(dir, name), Name: name}
		if err := os.Mkdir(b.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.Dir, "config.json"), []byte(`{"process":{"args":["x"]}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		s.list = append(s.list, b)
	}
	return s
}

// until runs the system until all of texts were said, then stops it.
func (s *system) until(t *testing.T, texts ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, s.list) }()
	missing := func() string {
		for _, text := range texts {
			if !regexp.MustCompile(text).MatchString(s.said()) {
				return text
			}
		}
		return ""
	}
	for end := time.Now().Add(20 * time.Second); missing() != "" && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if m := missing(); m != "" {
		t.Errorf("not said: %s; but:\n%s", m, s.said())
	}
}

func TestRestart(t *testing.T) {
	s := newSystem(t, map[string][]int{"bad": {3, 137, -1}, "good": {0}, "lasting": {-1}})
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `lkx: 3 services running, \d+\.\ds after kernel start`,
		`lkx: service bad: exited with status 3; restart 1 in 100ms`,
		`lkx: service bad: exited with status 137; restart 2 in 200ms`,
		`lkx: service good: finished`, `(?s)said by bad.*said by bad.*said by bad`, `\[lasting\] said by lasting`)
	if want := map[string]int{"bad": 3, "good": 1, "lasting": 1}; !maps.Equal(s.fake.starts, want) {
		t.Errorf("started %v, want %v", s.fake.starts, want)
	}
	if len(s.fake.made) > 0 || len(s.fake.tasks) > 0 {
		t.Errorf("left behind: %v, %v", s.fake.made, s.fake.tasks)
	}
	if text, err := os.ReadFile(filepath.Join(s.Logs, "good.out.log")); string(text) != "said by good\n" {
		t.Errorf("the log has %q, %v", text, err)
	}
	// Another process takes over: what ended well stays so.
	s.fake.script["bad"] = []int{-1}
	s.again()
	s.until(t, `lkx: 3 services running`)
	if s.fake.starts["good"] != 1 {
		t.Error("what had ended well was run again")
	}
}

func TestTakeOver(t *testing.T) {
	s := newSystem(t, map[string][]int{"here": {-1}, "half": {-1}, "ended": {-1}})
	s.fake.made["here"], s.fake.made["half"], s.fake.made["ended"] = "old", "old", "old"
	s.fake.tasks["here"] = &fakeTask{state: task.Status_RUNNING, done: make(chan struct{})}
	s.fake.tasks["half"] = &fakeTask{state: task.Status_CREATED, done: make(chan struct{})}
	closed := make(chan struct{})
	close(closed)
	s.fake.tasks["ended"] = &fakeTask{state: task.Status_STOPPED, code: 4, done: closed}
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `3 services running`, `service ended: exited with status 4; restart 1`, `said by half`, `said by ended`)
	if want := map[string]int{"half": 1, "ended": 1}; !maps.Equal(s.fake.starts, want) {
		t.Errorf("started %v, want %v", s.fake.starts, want)
	}
}

func TestStop(t *testing.T) {
	s := newSystem(t, map[string][]int{"deaf": {-1}})
	s.fake.deaf = true
	stop := s.fake.serve(t, s.Socket)
	defer stop()
	s.until(t, `1 service running`)
	if !strings.Contains(s.said(), "service deaf: still there after 100ms; killing it") {
		t.Errorf("said:\n%s", s.said())
	}
	if want := []uint32{uint32(unix.SIGTERM), uint32(unix.SIGKILL)}; !slices.Equal(s.fake.kills["deaf"], want) {
		t.Errorf("sent %v, want %v", s.fake.kills["deaf"], want)
	}
}

func TestContainerdDies(t *testing.T) {
	s := newSystem(t, map[string][]int{"one": {-1}})
	var mu sync.Mutex
	stop := func() {}
	go func() { // late, and then gone for a while
		time.Sleep(100 * time.Millisecond)
		first := s.fake.serve(t, s.Socket)
		for !strings.Contains(s.said(), "1 service running") {
			time.Sleep(5 * time.Millisecond)
		}
		first()
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		stop = s.fake.serve(t, s.Socket)
		s.fake.mu.Lock()
		s.fake.end(s.fake.tasks["one"], 5)
		s.fake.mu.Unlock()
	}()
	s.until(t, `service one: exited with status 5; restart 1`, `(?s)said by one.*said by one`)
	mu.Lock()
	defer mu.Unlock()
	stop()
	if s.fake.starts["one"] != 2 {
		t.Errorf("started %d times, want 2", s.fake.starts["one"])
	}
}

func TestParseConfig(t *testing.T) {
	got := parseConfig(strings.NewReader("# comment = x\ncliopts = \"--log-level debug\"\nstdout='/var/log/a'\n\nstderr=\"stderr\"\n"))
	want := map[string]string{"cliopts": "--log-level debug", "stdout": "/var/log/a", "stderr": "stderr"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCount(t *testing.T) {
	for want, n := range map[string][2]int{"1 service running": {1, 1}, "0 services running": {0, 0}, "3 services running": {3, 3}, "2 of 3 services running": {2, 3}} {
		if got := count(n[0], n[1]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: \"/x\": no such file": `exec: "/x": no such file`,
		"no space left on device": "no space left on device",
	} {
		if got := plain(status.Error(codes.Unknown, in)); got.Error() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
