package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/internal/memlog"
)

func TestParse(t *testing.T) {
	o, err := parse(nil)
	if want := (options{"/run/log/memlogdq.sock", "/var/log/kept", 1 << 20, 10, ""}); err != nil || o != want {
		t.Errorf("got %+v, %v", o, err)
	}
	o, err = parse([]string{"-log-dir", "/d", "-max-log-files", "3", "-max-log-size", "64K"})
	if want := (options{"/run/log/memlogdq.sock", "/d", 64 << 10, 3, ""}); err != nil || o != want {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-max-size", "big"}, {"-max-size", "-1"}, {"-max-files", "0"}, {"x"}, {"-frob"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q gave no error", args)
		}
	}
	for _, where := range []string{"10.0.2.2:514", "udp://10.0.2.2", "http://x:1", "tcp://x:1/path"} {
		if _, err := newSyslog(nil, where); err == nil {
			t.Errorf("-syslog %s gave no error", where)
		}
	}
}

func TestMessage(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))
	for want, e := range map[string]memlog.Entry{
		"<30>1 2026-01-02T03:04:05.678901+01:00 my_host web - - - GET / 200": {Time: at, Source: "web.out", Msg: "GET / 200"},
		"<29>1 2026-01-02T03:04:05.678901+01:00 my_host web - - - oh":        {Time: at, Source: "web", Msg: "oh"},
		"<29>1 2026-01-02T03:04:05.678901+01:00 my_host " + strings.Repeat("x", 48) + " - - - ": {
			Time: at, Source: strings.Repeat("x", 60),
		},
	} {
		if got := message(e, "my host"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// said is what a program said so far.
type said struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

// until waits for what f tells.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// hub serves logs at socket until the returned function is called.
func hub(t *testing.T, socket string) (*memlog.Hub, func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h := &memlog.Hub{}
	go h.Serve(ctx, l)
	return h, cancel
}

// start runs logwrite until the returned function is called.
func start(t *testing.T, o options) (*said, func()) {
	t.Helper()
	out := &said{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, log.New(out, "", 0), o) }()
	return out, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	o := options{socket: filepath.Join(dir, "socket"), dir: filepath.Join(dir, "logs"), size: 1000, files: 2}
	h, away := hub(t, o.socket)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h.Add(memlog.Entry{Time: at, Source: "logwrite", Msg: "would come back"})
	h.Add(memlog.Entry{Time: at, Source: "a/../b", Msg: "odd"})
	for i := range 100 {
		h.Add(memlog.Entry{Time: at.Add(time.Duration(i) * time.Second), Source: "web", Msg: fmt.Sprint("line ", i)})
	}
	out, stop := start(t, o)
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(o.dir, name))
		return string(text)
	}
	until(t, "all written", func() bool { return strings.HasSuffix(read("web.log"), "line 99\n") })
	if !strings.HasPrefix(read("web.log.1"), "2026-01-02T03:0") || read("a_.._b.log") != "2026-01-02T03:04:05Z a/../b odd\n" {
		t.Errorf("web.log.1 is %.50q, odd %q", read("web.log.1"), read("a_.._b.log"))
	}
	// Another lkx-services has the old lines, too.
	away()
	os.Remove(o.socket)
	until(t, "seen to have gone", func() bool { return strings.Contains(out.String(), "again in") })
	h, away = hub(t, o.socket)
	defer away()
	h.Add(memlog.Entry{Time: at.Add(99 * time.Second), Source: "web", Msg: "line 99"})
	h.Add(memlog.Entry{Time: at.Add(100 * time.Second), Source: "web", Msg: "line 100"})
	until(t, "the new one written", func() bool { return strings.HasSuffix(read("web.log"), "line 100\n") })
	if n := strings.Count(read("web.log"), "line 99\n"); n != 1 {
		t.Errorf("line 99 was written %d times", n)
	}
	stop()
	names, _ := filepath.Glob(filepath.Join(o.dir, "*"))
	if len(names) != 3 {
		t.Errorf("the files are %v", names)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Size() > o.size {
			t.Errorf("%s has %d bytes, %v", name, info.Size(), err)
		}
	}
}

func TestSyslogTCP(t *testing.T) {
	dir := t.TempDir()
	o := options{socket: filepath.Join(dir, "socket")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.syslog = "tcp://" + l.Addr().String()
	l.Close() // not there yet
	h, away := hub(t, o.socket)
	defer away()
	h.Add(memlog.Entry{Time: time.Now(), Source: "web.out", Msg: "first"})
	out, stop := start(t, o)
	defer stop()
	until(t, "told of", func() bool { return strings.Contains(out.String(), "trying until it works") })
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := frame(t, conn); !strings.HasSuffix(got, " web - - - first") {
		t.Errorf("got %q", got)
	}
	conn.Close()
	// The first that is sent to a server that has gone is lost: TCP takes it.
	go func() {
		for i := range 100 {
			h.Add(memlog.Entry{Time: time.Now(), Source: "web.out", Msg: fmt.Sprint("more ", i)})
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := frame(t, conn); !strings.Contains(got, " web - - - more ") {
		t.Errorf("got %q", got)
	}
}

// frame reads a message that begins with its length (RFC 6587).
func frame(t *testing.T, r io.Reader) string {
	t.Helper()
	in := bufio.NewReader(r)
	var n int
	if _, err := fmt.Fscanf(in, "%d ", &n); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
