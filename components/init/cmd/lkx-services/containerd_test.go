package main

import (
	"slices"
	"testing"
)

func TestTouching(t *testing.T) {
	points := []string{"/", "/proc", "/run", "/var", "/variable", "/var/lib/data", "/var/lib", "/var/log/old", "/run/containerd/x", "/run/lkx"}
	want := []string{"/", "/run", "/var", "/var/lib", "/var/log/old", "/run/containerd/x"}
	if got := touching(points, containerdDirs); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
