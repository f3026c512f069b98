package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/components/internal/bundle"
)

// Directories of this program.
const (
	bundlesDir = "/run/lkx/bundles" // the specifications that runc is given
	onbootLogs = "/run/log/onboot"
)

// spec prepares a container, and returns what to start it with.
func spec(b *bundle.Bundle, cgroup string) ([]byte, error) {
	if err := b.Prepare(); err != nil {
		return nil, err
	}
	return b.Spec(cgroup, "/usr/bin/lkx-services", "hook", b.Dir)
}

// runOnce runs a container with runc until it ends, and returns its status.
// What it says goes to the console and to /run/log/onboot.
func runOnce(ctx context.Context, b *bundle.Bundle) (int, error) {
	text, err := spec(b, "/"+filepath.Base(filepath.Dir(b.Dir))+"/"+b.Name)
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(bundlesDir, b.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		return 0, err
	}
	log := newLog(b.Name, filepath.Join(onbootLogs, b.Name+".log"), true)
	defer log.Close()
	cmd := exec.CommandContext(ctx, "/usr/bin/runc", "--root", "/run/runc", "run", "--bundle", dir, b.Name)
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	if rerr := b.Release(); rerr != nil {
		say("%s: %v", b.Name, rerr)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("starting it: %w", err)
	}
	return 0, nil
}

// hook is what a runtime calls between making a container's namespaces and
// starting its program; state is what it sends (runtime-spec, runtime.md).
func hook(dir string, state io.Reader) error {
	var s specs.State
	if err := json.NewDecoder(state).Decode(&s); err != nil {
		return fmt.Errorf("reading the container's state: %w", err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		return err
	}
	return b.Attach(s.Pid)
}
