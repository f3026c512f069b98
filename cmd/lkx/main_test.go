package main

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lkx-os/lkx/runner"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lkx": func() {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}})
}

// TestScripts runs the commands of testdata/script. They need no network: what
// a registry must answer is tested in e2e.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("LKX_STORE", e.WorkDir+"/store")
			return imageLayout(e.WorkDir+"/images", "one:1", "ghcr.io/o/two:2")
		},
	})
}

func TestParsePort(t *testing.T) {
	for text, want := range map[string]runner.Port{
		"8080:80":           {Proto: "tcp", Host: 8080, Guest: 80},
		"80:80":             {Proto: "tcp", Host: 80, Guest: 80},
		"127.0.0.1:8080:80": {Proto: "tcp", Addr: "127.0.0.1", Host: 8080, Guest: 80},
		"53:5353/udp":       {Proto: "udp", Host: 53, Guest: 5353},
	} {
		if got, err := parsePort(text); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "80", "80:", ":80", "0:80", "80:70000", "x:80:80", "80:80/icmp"} {
		if got, err := parsePort(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"512": 512 << 20, "512M": 512 << 20, "2G": 2 << 30} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1M", "0", "1T", "1.5G"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

// TestWatch looks for a text that comes in pieces.
func TestWatch(t *testing.T) {
	for _, pieces := range [][]string{{"say ready now"}, {"say re", "ady"}, {"r", "e", "a", "d", "y"}, {"rea", "rea", "dy"}} {
		seen := false
		var out bytes.Buffer
		w := &watch{w: &out, want: []byte("ready"), seen: func() { seen = true }}
		var all string
		for _, p := range pieces {
			if _, err := w.Write([]byte(p)); err != nil {
				t.Fatal(err)
			}
			all += p
		}
		if !seen || out.String() != all {
			t.Errorf("%q: seen is %v, passed on %q", pieces, seen, out.String())
		}
	}
	w := &watch{w: &bytes.Buffer{}, want: []byte("ready"), seen: func() { t.Error("seen what was not there") }}
	for _, p := range []string{"rea", "d", "reading", "y"} {
		_, _ = w.Write([]byte(p))
	}
}
