package main

import (
	"context"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/components/init/internal/gate"
	"github.com/lkx-os/lkx/components/internal/mnt"
)

// containerdDirs are where containerd keeps and writes what it has to.
var containerdDirs = []string{"/run/containerd", "/var/lib/containerd", "/var/log"}

// containerd starts containerd, which daemon runs until its context is done, and
// returns when the onboot containers have ended or ctx is done. If one of them
// has mounted something over containerd's directories, such as a disk on /var,
// it is started anew: it has nothing to lose yet. It outlives ctx, for the
// services are stopped through it, until stop.
func containerd(ctx context.Context, daemon func(context.Context)) (stop func(), err error) {
	before, err := mnt.Points()
	if err != nil {
		return func() {}, err
	}
	stop = start(daemon)
	if !gate.Await(ctx) {
		return stop, nil
	}
	after, err := mnt.Points()
	if err == nil && !slices.Equal(touching(before, containerdDirs), touching(after, containerdDirs)) {
		stop()
		stop = start(daemon)
	}
	return stop, err
}

// start runs daemon until stop, which waits for its end.
func start(daemon func(context.Context)) (stop func()) {
	life, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		daemon(life)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// touching are the mount points that are one of dirs, or above or below one.
func touching(points, dirs []string) []string {
	in := func(a, b string) bool { return strings.HasPrefix(a+"/", strings.TrimSuffix(b, "/")+"/") }
	var out []string
	for _, p := range points {
		if slices.ContainsFunc(dirs, func(d string) bool { return in(p, d) || in(d, p) }) {
			out = append(out, p)
		}
	}
	return out
}
