package logs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	var console bytes.Buffer
	l := Open(filepath.Join(t.TempDir(), "a.log"), "[a] ", &console)
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
	file, err := os.ReadFile(l.path)
	if err != nil || !strings.HasPrefix(string(file), "one\ntwo\r\n\nthreex") {
		t.Errorf("the file has %.80q, %v", file, err)
	}
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	l := Open(path, "", nil)
	chunk := bytes.Repeat([]byte("0123456789abcde\n"), 4096)
	for range 40 { // 2.5 MiB
		if _, err := l.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{path: 8 * 65536, path + ".1": limit} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != want {
			t.Errorf("%s has %d bytes, want %d", name, info.Size(), want)
		}
	}
	again := Open(path, "", nil)
	if again.size != 8*65536 {
		t.Errorf("continued at %d", again.size)
	}
	again.Close()
}

func TestNoFile(t *testing.T) {
	var console bytes.Buffer
	l := Open(filepath.Join(t.TempDir(), "missing", "a.log"), "[a] ", &console)
	if _, err := l.Write([]byte("said\n")); err != nil {
		t.Fatal(err)
	}
	if got := console.String(); !strings.Contains(got, "there is no log") || !strings.HasSuffix(got, "[a] said\n") {
		t.Errorf("got %q", got)
	}
}
