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
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/oom"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/logs"
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
	Console     io.Writer     // gets what containers say
	Logs        string        // directory of the logs, NAME.log each
	Work        string        // directory for what the runtime is given
	Cgroup      string        // parent of the containers' cgroups
	Helper      string        // program whose "hook" command serves the bundles' hooks
	StopTimeout time.Duration // between SIGTERM and SIGKILL
	Debug       bool          // of the runtime
	Continue    bool          // to run the others after one failed
}

// ExitError says that a container ended with a status other than 0: its
// program's, or 128 and the number of the signal that ended it.
type ExitError struct {
	Name   string
	Status int
	Ending string // in words: "exited with status 3"
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
	err := r.prepare(b, dir)
	if err == nil {
		err = r.run(ctx, b, dir)
	}
	if rerr := b.Release(); err == nil {
		err = rerr
	}
	var exit *ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", b.Name, err)
	}
	return err
}

// prepare writes to dir what the runtime is given.
func (r *Runner) prepare(b *bundle.Bundle, dir string) error {
	if err := b.Prepare(); err != nil {
		return err
	}
	spec, err := b.Spec(filepath.Join(r.Cgroup, b.Name), r.Helper)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the runtime's directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), spec, 0o600); err != nil {
		return fmt.Errorf("writing the runtime's config: %w", err)
	}
	return nil
}

// run has the runtime run a container. When ctx is done the container is asked
// to end, and after a while made to.
func (r *Runner) run(ctx context.Context, b *bundle.Bundle, dir string) error {
	out := logs.Open(r.logOf(b), "["+b.Name+"] ", r.Console)
	defer out.Close()
	args := []string{"--root", state}
	if r.Debug {
		args = append(args, "--debug")
	}
	cmd := exec.CommandContext(ctx, Runtime, append(args, "run", "--bundle", dir, b.Name)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // passed on to the container
	cmd.WaitDelay = r.StopTimeout
	kills := oom.Kills(r.Cgroup) // of all containers so far: each one's own cgroup goes with it
	err := cmd.Run()
	if err == nil {
		return nil
	}
	// Nothing is left of a container that ended by itself; of others, all goes.
	_ = exec.Command(Runtime, "--root", state, "delete", "--force", b.Name).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		s, _ := b.Settings() // it was started from the same file
		return &ExitError{b.Name, exit.ExitCode(), oom.Ending(exit.ExitCode(), oom.Kills(r.Cgroup)-kills, s.Memory)}
	}
	return fmt.Errorf("running it: %w", err)
}
