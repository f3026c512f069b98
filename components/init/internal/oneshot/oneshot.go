// Package oneshot runs containers one after the other, each to its end, with
// the OCI runtime alone.
package oneshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/oom"
	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/init/internal/remind"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/logs"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// Runtime is where the runtime is, and state where it keeps what it knows.
const (
	Runtime = "/usr/bin/runc"
	state   = "/run/runc"
)

// Runner runs containers.
type Runner struct {
	Kind        string // of the containers, for messages: "onboot"
	Log         *log.Logger
	Console     io.Writer // gets what containers say
	Logs        string    // directory of the logs, NAME.log each
	Keeper      logs.Keeper
	Work        string        // directory for what the runtime is given, and for records
	Cgroup      string        // parent of the containers' cgroups
	Helper      string        // program whose "hook" command serves the bundles' hooks
	Timeout     time.Duration // for each container; 0 is for ever
	StopTimeout time.Duration // between SIGTERM and SIGKILL
	Debug       bool          // of the runtime
	Continue    bool          // to run the others after one failed
}

// ExitError says that a container ended with a status other than 0.
type ExitError struct {
	Name   string
	Ending string // in words, as of [oom.Ending]
}

func (e *ExitError) Error() string { return e.Name + ": " + e.Ending }

// All runs the bundles in order until ctx is done. It returns the name of the
// first that fails, and "" for none; with [Runner.Continue] it goes on after
// it. What failed, and how, it says itself.
func (r *Runner) All(ctx context.Context, list []*bundle.Bundle) (string, error) {
	if err := os.MkdirAll(r.Logs, 0o755); err != nil {
		return "", fmt.Errorf("making the directory of logs: %w", err)
	}
	failed := ""
	for _, b := range list {
		if ctx.Err() != nil || failed != "" && !r.Continue {
			break
		}
		if err := r.one(ctx, b); err != nil {
			r.Log.Printf("%s %v; its output is in %s", r.Kind, err, r.logOf(b))
			failed = cmp.Or(failed, b.Name)
		}
	}
	return failed, nil
}

func (r *Runner) logOf(b *bundle.Bundle) string { return filepath.Join(r.Logs, b.Name+".log") }

// one runs a container until it ends and lets go of its root file system.
func (r *Runner) one(ctx context.Context, b *bundle.Bundle) error {
	dir := filepath.Join(r.Work, b.Name)
	note, err := record.Open(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", b.Name, err)
	}
	defer func() { r.note(note, ended(err)) }()
	err = r.prepare(b, dir, note)
	if err == nil {
		err = r.run(ctx, b, dir)
	}
	if rerr := b.Release(); err == nil {
		err = rerr
	}
	var exit *ExitError
	if err != nil && !errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w", b.Name, err)
	}
	return err
}

func (r *Runner) note(n *record.Note, f func(*record.Record)) {
	if _, err := n.Change(f); err != nil {
		r.Log.Printf("%s: %v", r.Kind, err)
	}
}

// ended notes how a container ended.
func ended(err error) func(*record.Record) {
	return func(r *record.Record) {
		if r.State == record.Running {
			r.Took = uptime.Now() - r.Since
		}
		r.State, r.LastExit, r.Cgroup = record.Finished, "status 0", ""
		if err == nil {
			return
		}
		r.State, r.LastExit = record.Failed, err.Error()
		if exit := (*ExitError)(nil); errors.As(err, &exit) {
			r.LastExit = strings.TrimPrefix(exit.Ending, "exited with ")
		}
	}
}

// prepare writes to dir what the runtime is given.
func (r *Runner) prepare(b *bundle.Bundle, dir string, note *record.Note) error {
	if err := b.Prepare(); err != nil {
		return err
	}
	spec, err := b.Spec(filepath.Join(r.Cgroup, b.Name), r.Helper)
	if err != nil {
		return err
	}
	r.note(note, func(n *record.Record) { n.State, n.Cgroup = record.Running, bundle.CgroupOf(spec) })
	if err := os.WriteFile(filepath.Join(dir, "config.json"), spec, 0o600); err != nil {
		return fmt.Errorf("writing the runtime's config: %w", err)
	}
	return nil
}

// run has the runtime run a container. When ctx is done, or it takes too long,
// the container is asked to end, and after a while made to.
func (r *Runner) run(ctx context.Context, b *bundle.Bundle, dir string) error {
	out := r.Keeper.Open(logs.Source{
		Path: r.logOf(b), Name: r.Kind + "." + b.Name, Prefix: "[" + b.Name + "] ", Console: r.Console,
	})
	defer out.Close()
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("killed: it was not done after %v, which lkx.%s-timeout gives", r.Timeout, r.Kind))
		defer cancel()
	}
	defer remind.While(func(waited time.Duration) {
		r.Log.Printf("waiting for %s %s, %v by now; its output is in %s", r.Kind, b.Name, waited, r.logOf(b))
	})()
	kills := oom.Kills(r.Cgroup) // of all containers so far: each one's own cgroup goes with it
	err := r.command(ctx, b, dir, out).Run()
	if err == nil {
		return nil
	}
	// Nothing is left of a container that ended by itself; of others, all goes.
	_ = exec.Command(Runtime, "--root", state, "delete", "--force", b.Name).Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		s, _ := b.Settings() // it was started from the same file
		return &ExitError{b.Name, oom.Ending(exit.ExitCode(), oom.Kills(r.Cgroup)-kills, s.Memory)}
	}
	return fmt.Errorf("running it: %w", err)
}

// command is the runtime's, to run a container.
func (r *Runner) command(ctx context.Context, b *bundle.Bundle, dir string, out io.Writer) *exec.Cmd {
	args := []string{"--root", state}
	if r.Debug {
		args = append(args, "--debug")
	}
	cmd := exec.CommandContext(ctx, Runtime, append(args, "run", "--bundle", dir, b.Name)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // passed on to the container
	cmd.WaitDelay = max(r.StopTimeout, time.Millisecond)                  // 0 would be for ever
	return cmd
}
