package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lkx-os/lkx/runner"
)

func TestTooSmall(t *testing.T) {
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(initrd, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(initrd, 36<<20); err != nil {
		t.Fatal(err)
	}
	const want = "160 MiB of memory may be too little: the initrd of 36 MiB takes up to 4 times that when it is unpacked, and can have half of the memory; try --mem 320M"
	for _, c := range []struct {
		machine runner.Machine
		want    string
	}{
		{runner.Machine{Initrd: initrd, Memory: 160 << 20}, want},
		{runner.Machine{Initrd: initrd, Memory: 320 << 20}, ""},
		{runner.Machine{Initrd: initrd + "-missing", Memory: 1 << 20}, ""},
		{runner.Machine{Memory: 1 << 20}, ""},
	} {
		if got := tooSmall(c.machine); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.machine, got, c.want)
		}
	}
}
