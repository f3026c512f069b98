package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/internal/memlog"
)

func TestLines(t *testing.T) {
	var console bytes.Buffer
	path := filepath.Join(t.TempDir(), "a.log")
	k := Keeper{Hub: &memlog.Hub{}}
	l := k.Open(Source{Path: path, Name: "a", Prefix: "[a] ", Console: &console})
	for _, s := range []string{"one\ntw", "o\r\n\nthr", "ee", strings.Repeat("x", longest)} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := "[a] one\n[a] two\n[a] \n[a] three" + strings.Repeat("x", longest) + "\n"
	if got := console.String(); got != want {
		t.Errorf("got %.80q, want %.80q", got, want)
	}
	entries, _ := k.Hub.Read(func(source string) bool { return source == "a" })
	if len(entries) != 4 || entries[1].Msg != "two" || time.Since(entries[1].Time) > time.Minute {
		t.Errorf("the hub has %.200v", entries)
	}
	file, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(file), "one\ntwo\r\n\nthreex") {
		t.Errorf("the file has %.80q, %v", file, err)
	}
	// Another process shows what this one was told.
	k = Keeper{Hub: &memlog.Hub{}}
	k.Open(Source{Path: path, Name: "a"}).Close()
	if entries, _ := k.Hub.Read(func(string) bool { return true }); len(entries) != 4 || entries[0].Msg != "one" || entries[0].Source != "a" {
		t.Errorf("loaded %.200v", entries)
	}
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	l := (&Keeper{}).Open(Source{Path: path})
	chunk := bytes.Repeat([]byte("0123456789abcde\n"), 4096)
	for range 40 { // 2.5 MiB
		if _, err := l.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{path: 8 * 65536, path + ".1": largest} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != want {
			t.Errorf("%s has %d bytes, want %d", name, info.Size(), want)
		}
	}
	again, err := OpenFile(path, largest, 1)
	if err != nil || again.size != 8*65536 {
		t.Errorf("continued at %d, %v", again.size, err)
	}
	again.Close()
}

func TestOlder(t *testing.T) {
	for older, want := range map[int]string{0: "a.log=4", 1: "a.log=4 a.log.1=3", 2: "a.log=4 a.log.1=3 a.log.2=2"} {
		dir := t.TempDir()
		f, err := OpenFile(filepath.Join(dir, "a.log"), 1, older)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if _, err := fmt.Fprint(f, i); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
		var got []string
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range names {
			text, _ := os.ReadFile(name)
			got = append(got, filepath.Base(name)+"="+string(text))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d older: got %v, want %s", older, got, want)
		}
	}
}

func TestNoFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	var console bytes.Buffer
	l := (&Keeper{}).Open(Source{Path: filepath.Join(dir, "a.log"), Prefix: "[a] ", Console: &console})
	if _, err := l.Write([]byte("said\n")); err != nil {
		t.Fatal(err)
	}
	// It goes on where it can be written again.
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("kept\n")); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got := console.String(); !strings.HasPrefix(got, "[a] lkx: this log is not complete: opening a log: ") || !strings.HasSuffix(got, "[a] said\n[a] kept\n") {
		t.Errorf("got %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a.log")); string(text) != "kept\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// stuck is a console that takes nothing until it is told to.
type stuck struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func TestStuckConsole(t *testing.T) {
	console := &stuck{}
	console.mu.Lock()
	l := (&Keeper{}).Open(Source{Path: filepath.Join(t.TempDir(), "a.log"), Prefix: "[a] ", Console: console})
	for i := range 1000 {
		fmt.Fprintln(l, "line", i) // would hang here
	}
	console.mu.Unlock()
	l.Close()
	got := console.got.String()
	if n := strings.Count(got, "\n"); n > queue+2 || !strings.HasPrefix(got, "[a] line 0\n") || !strings.Contains(got, " lines left out here, not in the log)\n") {
		t.Errorf("%d lines: %.100s … %s", n, got, got[len(got)-100:])
	}
}

func TestFlood(t *testing.T) {
	var console bytes.Buffer
	c := newConsole(&console, "")
	for range 10 * burst {
		c.show([]byte("line"))
		for len(c.lines) > 0 { // a console that is fast
			time.Sleep(time.Microsecond)
		}
	}
	c.leftOut++ // whatever the time this took
	c.close()
	if n := strings.Count(console.String(), "line\n"); n < burst || n > 5*burst {
		t.Errorf("%d lines of %d were shown", n, 10*burst)
	}
	if !strings.Contains(console.String(), "lines left out here") {
		t.Error("it is not said that some were left out")
	}
}

func TestLimit(t *testing.T) {
	if got := Limit(t.TempDir(), 1<<40); got != smallest {
		t.Errorf("got %d for very many, want %d", got, smallest)
	}
	if got := Limit("/no/such", 1); got != smallest {
		t.Errorf("got %d where nothing is, want %d", got, smallest)
	}
	if got := Limit(t.TempDir(), 1); got < smallest || got > largest {
		t.Errorf("got %d for one", got)
	}
}
