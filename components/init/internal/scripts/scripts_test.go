package scripts

import (
	"bytes"
	"context"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/reap"
)

// TestMain lets the test's binary be the programs that are run: it notes the
// name it is called by.
func TestMain(m *testing.M) {
	notes := os.Getenv("SCRIPTS_TEST_NOTES")
	if notes == "" {
		os.Exit(m.Run())
	}
	name := filepath.Base(os.Args[0])
	f, err := os.OpenFile(notes, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(9)
	}
	_, _ = f.WriteString(name + "\n")
	f.Close()
	switch {
	case strings.HasSuffix(name, "fails"):
		os.Exit(3)
	case strings.HasSuffix(name, "hangs"):
		time.Sleep(time.Minute)
	}
}

// kids reaps for all tests: a process that had two reapers would lose children
// to the wrong one.
var kids = sync.OnceValue(reap.New)

// lay makes a directory of programs, and a runner with what it says and where
// they note their names.
func lay(t *testing.T, names ...string) (dir string, r *Runner, said *bytes.Buffer, notes string) {
	t.Helper()
	dir, said, notes = t.TempDir(), &bytes.Buffer{}, filepath.Join(t.TempDir(), "notes")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, &Runner{Log: log.New(said, "", 0), Kids: kids(), Environment: []string{"SCRIPTS_TEST_NOTES=" + notes}}, said, notes
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

func TestRun(t *testing.T) {
	dir, r, said, notes := lay(t, "000-first", "010-onboot", "007-fails", "015-between", "030-last")
	for name, link := range map[string]string{"020-containerd": service, "008-ours": "../../../../../../../.." + service, "009-dangling": "/missing"} {
		if err := os.Symlink(link, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"001-script": {"#! /missing/sh -e\necho\n", 0o755},
		"002-text":   {"text", 0o644},
		"003-broken": {"text", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	r.Run(t.Context(), dir, "", Onboot)
	if got := read(t, notes); got != "000-first 007-fails" {
		t.Errorf("before onboot ran: %s", got)
	}
	for _, want := range []string{
		"001-script: passed over: it is a script for /missing/sh, which is not there; add",
		"002-text: passed over: it is not executable", "003-broken: passed over: starting", "007-fails: exited with status 3",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in:\n%s", want, said)
		}
	}
	if n := strings.Count(said.String(), "\n"); n != 4 {
		t.Errorf("%d lines said:\n%s", n, said)
	}
	r.Run(t.Context(), dir, Onboot, Containerd)
	r.Run(t.Context(), dir, Containerd, "")
	if got := read(t, notes); got != "000-first 007-fails 015-between 030-last" {
		t.Errorf("in all ran: %s", got)
	}
	r.Run(t.Context(), filepath.Join(dir, "missing"), "", "")
}

func TestRunIsKilled(t *testing.T) {
	dir, r, said, notes := lay(t, "1-hangs", "2-next")
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for read(t, notes) == "" {
			time.Sleep(time.Millisecond)
		}
		stop()
	}()
	r.Run(ctx, dir, "", "")
	if got := read(t, notes); got != "1-hangs" || !strings.Contains(said.String(), "1-hangs: ended by signal 9") {
		t.Errorf("ran: %s; said: %s", got, said)
	}
}
