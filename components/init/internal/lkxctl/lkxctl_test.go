package lkxctl

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/control"
	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/init/internal/service"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// system is one that has a service, an onboot container and a containerd.
type system struct {
	control.Server
	socket string
	asked  []string
	answer error // to what is asked
	down   string
}

func (s *system) askService(_ context.Context, name string, verb service.Verb) error {
	s.asked = append(s.asked, string(verb)+" "+name)
	return s.answer
}

// askFunc is an Asker.
type askFunc func(context.Context, string, service.Verb) error

func (f askFunc) Ask(ctx context.Context, name string, verb service.Verb) error {
	return f(ctx, name, verb)
}

func newSystem(t *testing.T) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{socket: filepath.Join(dir, "control.sock")}
	s.Server = control.Server{
		Stage: "run", Version: "0.1", State: filepath.Join(dir, "state"), Bundles: filepath.Join(dir, "containers"),
		Ask: askFunc(s.askService), Hub: &memlog.Hub{}, Log: log.New(&bytes.Buffer{}, "", 0), Timeout: time.Second,
		Power: func(name string) (bool, error) {
			s.down = name
			return name == "poweroff", nil
		},
	}
	for _, name := range []string{"services/web", "services/db", "onboot/000-sysctl"} {
		if err := os.MkdirAll(filepath.Join(s.Bundles, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.note(t, "services/web", record.Record{State: record.Running, Health: "healthy", PID: 42, Restarts: 3, LastExit: "status 137"})
	s.note(t, "onboot/000-sysctl", record.Record{State: record.Finished, LastExit: "status 0", Took: 1500 * time.Millisecond})
	s.note(t, "containerd", record.Record{State: record.Running, Ready: true, PID: os.Getpid()})
	l, err := control.Listen(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), l)
	return s
}

func (s *system) note(t *testing.T, name string, r record.Record) {
	t.Helper()
	n, err := record.Open(filepath.Join(s.State, name))
	if err == nil {
		_, err = n.Change(func(now *record.Record) { *now = r })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run is lkxctl: its exit code and what it said.
func (s *system) run(t *testing.T, words string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := Run(t.Context(), append([]string{"-H", "unix://" + s.socket}, strings.Fields(words)...), &out, &out)
	return code, out.String()
}

// says checks what lkxctl says, and its exit code.
func (s *system) says(t *testing.T, words string, code int, texts ...string) {
	t.Helper()
	got, out := s.run(t, words)
	if got != code {
		t.Errorf("%s: exit code %d, want %d:\n%s", words, got, code, out)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("%s: no %q in:\n%s", words, text, out)
		}
	}
}

func TestList(t *testing.T) {
	s := newSystem(t)
	info, err := os.Stat(s.socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has the mode %v, %v", info.Mode(), err)
	}
	_, out := s.run(t, "ls")
	var rows []string
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	for i, want := range []string{
		"NAME STATE READY PID RESTARTS TIME MEMORY CPU LAST EXIT", fmt.Sprintf("containerd running yes %d 0 ", os.Getpid()),
		"db waiting no - 0 - - - -", "web running healthy 42 3 ", "onboot/000-sysctl finished - - 0 1.5s - - status 0",
	} {
		if i >= len(rows) || !strings.HasPrefix(rows[i], want) {
			t.Errorf("row %d is not %q in:\n%s", i, want, out)
		}
	}
	if !strings.HasSuffix(rows[3], "status 137 (SIGKILL)") || !strings.Contains(rows[1], "M ") {
		t.Errorf("no memory, or no signal:\n%s", out)
	}
	s.says(t, "ls --json", 0, `"name": "web"`, `"restarts": 3`, `"health": "healthy"`)
	s.says(t, "status", 0, "lkx 0.1, Linux ", "memory: ", "containerd: running, pid ", "service: 1 running, 1 waiting\n", "onboot: 1 finished\n")
	s.says(t, "status --json", 0, `"stage": "run"`)
}

func TestAsk(t *testing.T) {
	s := newSystem(t)
	s.says(t, "restart web db", 0, "web: running, pid 42\n", "db: waiting\n")
	if got := strings.Join(s.asked, ", "); got != "restart web, restart db" {
		t.Errorf("asked: %s", got)
	}
	s.says(t, "stop webb", 1, `lkxctl: stop webb: there is no "webb"`, `hint: did you mean "web"?`)
	s.says(t, "stop something-else", 1, "hint: lkxctl ls shows")
	s.says(t, "start sysctl", 1, "it is no service but of kind onboot")
	s.says(t, "stop", 2, "stop which service?")
	for err, text := range map[error]string{
		fmt.Errorf("%w: x", service.ErrAway):   "stop web: containerd is away: x",
		fmt.Errorf("%w: x", service.ErrNotYet): "stop web: not done yet: x",
		os.ErrInvalid:                          "hint: lkxctl logs web",
	} {
		s.answer = err
		s.says(t, "stop web", 1, text, "hint: ")
	}
	s.Ask = nil
	s.says(t, "stop web", 1, "no services run")
}

func TestPower(t *testing.T) {
	s := newSystem(t)
	s.says(t, "poweroff", 0)
	if s.down != "poweroff" {
		t.Errorf("asked for %q", s.down)
	}
	s.says(t, "halt", 1, `"halt" is nothing that can be done`) // so says this system
	s.says(t, "reboot now", 2, `takes no "now"`)
}

func TestUsage(t *testing.T) {
	s := newSystem(t)
	s.says(t, "help", 0, "lkxctl logs -f")
	s.says(t, "-help", 0, "lkxctl logs -f")
	s.says(t, "", 0, "lkxctl logs -f")
	s.says(t, "frob", 2, `there is no command "frob"`)
	s.says(t, "ls -x", 2, "flag provided but not defined")
	for _, address := range []string{"tcp://x:1", "vsock://a:b", "vsock://3"} {
		var out bytes.Buffer
		if code := Run(t.Context(), []string{"-H", address, "ls"}, &out, &out); code != 2 || !strings.Contains(out.String(), "is neither unix://PATH") {
			t.Errorf("%s: %d, %s", address, code, out.String())
		}
	}
}

func TestAway(t *testing.T) {
	var out bytes.Buffer
	started := time.Now()
	code := Run(t.Context(), []string{"-H", "unix:///no/such.sock", "ls"}, &out, &out)
	if code != 3 || !strings.Contains(out.String(), "the system does not answer") || !strings.Contains(out.String(), "hint: in a container, bind") {
		t.Errorf("%d, %s", code, out.String())
	}
	if time.Since(started) < patience {
		t.Error("it did not wait for the socket")
	}
}

func TestLogs(t *testing.T) {
	s := newSystem(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for i, source := range []string{"web.out", "web", "db", "web.out", "onboot.000-sysctl", "lkx"} {
		s.Hub.Add(memlog.Entry{Time: at.Add(time.Duration(i) * time.Second), Source: source, Msg: fmt.Sprint(source, " ", i)})
	}
	for words, want := range map[string]string{
		"logs web":               "web.out 0\nweb 1\nweb.out 3\n",
		"logs -n 2 web":          "web 1\nweb.out 3\n",
		"logs web -n 0":          "",
		"logs --stderr web":      "web 1\n",
		"logs --stdout web":      "web.out 0\nweb.out 3\n",
		"logs sysctl":            "onboot.000-sysctl 4\n",
		"logs onboot/000-sysctl": "onboot.000-sysctl 4\n",
		"logs lkx":               "lkx 5\n",
		"logs -n 2":              "[onboot.000-sysctl] onboot.000-sysctl 4\n[lkx] lkx 5\n",
		"logs -t db":             "2026-01-02T03:04:07.006Z db 2\n",
	} {
		if code, out := s.run(t, words); code != 0 || out != want {
			t.Errorf("%s: %d, %q, want %q", words, code, out, want)
		}
	}
	s.says(t, "logs wbe", 1, `did you mean "web"?`)
}

// buffer can be read while it is written.
type buffer struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got.Write(p)
}

func (b *buffer) until(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		got := b.got.String()
		b.mu.Unlock()
		if strings.Contains(got, text) {
			return
		}
	}
	t.Fatalf("no %q in %q", text, b.got.String())
}

func TestFollow(t *testing.T) {
	s := newSystem(t)
	socket := filepath.Join(t.TempDir(), "other.sock")
	first, endFirst := context.WithCancel(t.Context())
	defer endFirst()
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(first, l)
	add := func(text string) { s.Hub.Add(memlog.Entry{Time: time.Now(), Source: "web", Msg: text}) }
	add("before")
	ctx, cancel := context.WithCancel(t.Context())
	out := &buffer{}
	code := make(chan int, 1)
	go func() { code <- Run(ctx, []string{"-H", "unix://" + socket, "logs", "-f", "web"}, out, out) }()
	out.until(t, "before\n")
	add("while")
	out.until(t, "while\n")
	endFirst() // another process takes over
	out.until(t, "connecting again")
	add("between")
	if l, err = control.Listen(socket); err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), l)
	out.until(t, "between\n")
	cancel()
	if c := <-code; c != 0 || strings.Count(out.got.String(), "before") != 1 {
		t.Errorf("exit code %d: %s", c, out.got.String())
	}
}
