package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/components/init/internal/gate"
	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/init/internal/service"
	"github.com/lkx-os/lkx/components/internal/logs"
	"github.com/lkx-os/lkx/components/internal/mnt"
)

// containerdDirs are where containerd keeps and writes what it has to.
var containerdDirs = []string{"/run/containerd", "/var/lib/containerd", "/var/log"}

// containerd starts containerd, which takes a while, and returns when the onboot
// containers have ended or ctx is done. If one of them has mounted something
// over containerd's directories, such as a disk on /var, it is started anew: it
// has nothing to lose yet. It outlives ctx, for the services are stopped through
// it, until stop.
func (t *stage) containerd(ctx context.Context) (stop func(), err error) {
	note, err := record.Open(state + "containerd")
	if err != nil {
		return func() {}, err
	}
	before, err := mnt.Points()
	if err != nil {
		return func() {}, err
	}
	d := &service.Daemon{Log: t.log, Console: os.Stderr, Keeper: &logs.Keeper{Hub: t.keeper.Hub}, Note: note}
	stop = start(d)
	if !gate.Await(ctx) {
		return stop, nil
	}
	after, err := mnt.Points()
	if err == nil && !slices.Equal(touching(before, containerdDirs), touching(after, containerdDirs)) {
		stop()
		stop = start(d)
	}
	return stop, err
}

// start runs containerd until stop.
func start(d *service.Daemon) (stop func()) {
	life, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(life)
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
