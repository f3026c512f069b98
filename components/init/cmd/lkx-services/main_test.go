package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestParseOptions(t *testing.T) {
	for text, want := range map[string]options{
		"console=ttyS0":                              {stopTimeout: 10 * time.Second},
		"lkx.onboot=continue lkx.log=console":        {onboot: "continue", logConsole: true, stopTimeout: 10 * time.Second},
		"lkx.stop-timeout=3 lkx.onboot=poweroff":     {onboot: "poweroff", stopTimeout: 3 * time.Second},
		"lkx.stop-timeout=-1 lkx.stop-timeout=soon":  {stopTimeout: 10 * time.Second},
		"lkx.stop-timeout=0 lkx.log=file lkx.other=": {},
	} {
		if got := parseOptions(cmdline.Parse(text)); got != want {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
}

func TestDelay(t *testing.T) {
	var got []time.Duration
	var d time.Duration
	for range 11 {
		d = delay(d, time.Second)
		got = append(got, d)
	}
	if got[0] != firstDelay || got[1] != 2*firstDelay || got[10] != maxDelay {
		t.Errorf("delays %v", got)
	}
	if d := delay(maxDelay, healthy); d != firstDelay {
		t.Errorf("after a healthy run: %v", d)
	}
}

// TestLog keeps lines whole on the console, and files bounded.
func TestLog(t *testing.T) {
	dir := t.TempDir()
	screen, err := os.Create(filepath.Join(dir, "screen"))
	if err != nil {
		t.Fatal(err)
	}
	old := console
	console = &lineWriter{w: screen}
	defer func() { console = old }()
	l := newLog("a", filepath.Join(dir, "a.log"), true)
	for _, s := range []string{"one\ntw", "o\n", "\r\nthree"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	quiet := newLog("b", filepath.Join(dir, "b.log"), false)
	chunk := strings.Repeat("x", 1000) + "\n"
	for range 3 * logLimit / len(chunk) {
		_, _ = quiet.Write([]byte(chunk))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(screen.Name())
	if want := "[a] one\n[a] two\n[a] \n[a] three\n"; err != nil || string(text) != want {
		t.Errorf("the console shows %q, want %q (%v)", text, want, err)
	}
	for _, name := range []string{"b.log", "b.log.1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() > logLimit || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "a.log")); err != nil || string(kept) != "one\ntwo\n\r\nthree" {
		t.Errorf("the log holds %q (%v)", kept, err)
	}
}
