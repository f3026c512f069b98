package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/lkx-os/lkx/store"
)

// display shows a build's progress: bars on a terminal, lines elsewhere.
type display struct {
	ch   chan *client.SolveStatus
	done chan struct{}

	mu      sync.Mutex
	started map[string]time.Time // blobs, by digest
	closed  bool
}

func newDisplay(w io.Writer, mode string) (*display, error) {
	f, ok := w.(*os.File)
	if !ok {
		return newDisplayOn(w, progressui.PlainMode, mode)
	}
	return newDisplayOn(f, progressui.AutoMode, mode)
}

func newDisplayOn(w io.Writer, auto progressui.DisplayMode, mode string) (*display, error) {
	m := progressui.DisplayMode(mode)
	switch m {
	case "", progressui.AutoMode:
		m = auto
	case progressui.TtyMode, progressui.PlainMode, progressui.RawJSONMode, progressui.QuietMode:
	default:
		return nil, usageError{fmt.Errorf("unknown progress %q; there are: auto, tty, plain, rawjson, quiet", mode)}
	}
	ui, err := progressui.NewDisplay(w, m)
	if err != nil {
		return nil, fmt.Errorf("showing progress: %w", err)
	}
	d := &display{ch: make(chan *client.SolveStatus), done: make(chan struct{}), started: map[string]time.Time{}}
	go func() {
		defer close(d.done)
		_, _ = ui.UpdateFrom(context.Background(), d.ch)
	}()
	return d, nil
}

// send shows s.
func (d *display) send(s *client.SolveStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.ch <- s
	}
}

// pull shows how far a blob is.
func (d *display) pull(e store.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	now := time.Now()
	key := e.Op + e.Digest
	if d.started[key].IsZero() {
		d.started[key] = now
	}
	start := d.started[key]
	v := client.Vertex{Digest: digest.FromString(key), Name: e.Op + " " + e.Ref, Started: &start}
	st := client.VertexStatus{ID: e.Digest, Vertex: v.Digest, Current: e.Done, Total: e.Total, Timestamp: now, Started: &start}
	if e.Finished {
		v.Completed, st.Completed = &now, &now
	}
	d.ch <- &client.SolveStatus{Vertexes: []*client.Vertex{&v}, Statuses: []*client.VertexStatus{&st}}
}

// wait shows, until the end, that something keeps us waiting.
func (d *display) wait(what string) {
	now := time.Now()
	d.send(&client.SolveStatus{Vertexes: []*client.Vertex{{Digest: digest.FromString(what), Name: what, Started: &now, Completed: &now}}})
}

// addProgress adds the flag that says how progress is shown.
func addProgress(flags *pflag.FlagSet, mode *string) {
	flags.StringVar(mode, "progress", "auto", "how progress is shown: auto, tty, plain, rawjson or quiet")
}

// close waits until all is shown.
func (d *display) close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.ch)
	}
	d.mu.Unlock()
	<-d.done
}
