package main

import (
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestParseOptions(t *testing.T) {
	for text, want := range map[string]options{
		"quiet": {stopTimeout: 10 * time.Second},
		"lkx.onboot=continue lkx.log=console lkx.stop-timeout=3 linuxkit.runc_debug=1": {
			onboot: "continue", console: true, debug: true, stopTimeout: 3 * time.Second,
		},
		"lkx.stop_timeout=1m30s": {stopTimeout: 90 * time.Second},
		"lkx.stop-timeout=0":     {},
		"lkx.onboot-timeout=1m lkx.onshutdown-timeout=5 lkx.vsock=1024": {
			stopTimeout: 10 * time.Second, onbootTimeout: time.Minute, onshutdownTimeout: 5 * time.Second, vsock: 1024,
		},
		"lkx.vsock=7,local": {stopTimeout: 10 * time.Second, vsock: 7, vsockLocal: true},
	} {
		if got, err := parseOptions(cmdline.Parse(text)); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"lkx.stop-timeout=soon", "lkx.stop-timeout=-3s", "lkx.vsock=x", "lkx.vsock=0", "lkx.vsock=1,all", "lkx.onboot-timeout=never"} {
		if o, err := parseOptions(cmdline.Parse(text)); err == nil || o != (options{stopTimeout: 10 * time.Second}) {
			t.Errorf("%s: got %+v, %v", text, o, err)
		}
	}
}

func TestCommand(t *testing.T) {
	for _, words := range [][]string{nil, {"start"}, {"run", "now"}} {
		if err := command(t.Context(), nil, words); err == nil {
			t.Errorf("%q gave no error", words)
		}
	}
}
