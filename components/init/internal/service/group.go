package service

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/logs"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// Group runs services together.
type Group struct {
	Log         *log.Logger
	Console     io.Writer     // gets what services say, too; nil for not
	Logs        string        // directory of the logs: NAME.log of stderr, NAME.out.log of stdout
	Socket      string        // containerd's
	State       string        // directory that lives as long as the system runs
	Cgroup      string        // parent of the services' cgroups
	Helper      string        // program whose "hook" command serves the bundles' hooks
	StopTimeout time.Duration // between SIGTERM and SIGKILL
	Keeper      logs.Keeper

	mu     sync.Mutex
	byName map[string]*service
	fifos  []*os.File
	copies sync.WaitGroup
}

// Run runs the services until ctx is done and they have stopped. Those that run
// already, from before this process was started again, it takes over.
func (g *Group) Run(ctx context.Context, list []*bundle.Bundle) error {
	c, err := dial(g.Socket)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	defer g.finish()
	services, err := g.services(c, list)
	if err != nil {
		return err
	}
	var tried, all sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for _, s := range services {
		tried.Add(1)
		up := first(func(err error) {
			defer tried.Done()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
			}
		})
		all.Go(func() {
			defer up(ctx.Err())
			s.run(ctx, up)
		})
	}
	tried.Wait()
	if ctx.Err() == nil {
		g.Log.Printf("%s, %.1fs after kernel start", count(len(list)-failed, len(list)), uptime.Now().Seconds())
	}
	all.Wait()
	<-ctx.Done()
	return nil
}

// services are those of list, ready to be run.
func (g *Group) services(c *client, list []*bundle.Bundle) ([]*service, error) {
	exists := func(name string) bool {
		return slices.ContainsFunc(list, func(b *bundle.Bundle) bool { return b.Name == name })
	}
	o := newOrder()
	g.mu.Lock()
	g.byName = map[string]*service{}
	g.mu.Unlock()
	var out []*service
	for _, b := range list {
		s, err := g.newService(c, b, o)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", b.Name, err)
		}
		s.configure(exists)
		out = append(out, s)
		g.mu.Lock()
		g.byName[b.Name] = s
		g.mu.Unlock()
	}
	return out, nil
}

// count says how many services run.
func count(running, all int) string {
	switch {
	case running < all:
		return fmt.Sprintf("%d of %d services running", running, all)
	case all == 1:
		return "1 service running"
	}
	return fmt.Sprintf("%d services running", all)
}

// finish takes the last that was said and closes the logs.
func (g *Group) finish() {
	for _, f := range g.fifos {
		_ = f.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a FIFO has deadlines
	}
	g.copies.Wait()
	for _, f := range g.fifos {
		f.Close()
	}
}
