// Package qemu runs machines with QEMU: virtio devices, user networking, the
// serial console on the given streams.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lkx-os/lkx/runner"
)

// QEMU is a runner; the zero value finds qemu-system-ARCH in PATH.
type QEMU struct{ Path string }

var _ runner.Runner = QEMU{}

// program is QEMU's name for an architecture, and the package that has it.
type program struct{ name, debian string }

var programs = map[string]program{
	"amd64": {"qemu-system-x86_64", "qemu-system-x86"},
	"arm64": {"qemu-system-aarch64", "qemu-system-arm"},
}

// find is the path of QEMU for arch.
func (q QEMU) find(arch string) (string, error) {
	p, ok := programs[arch]
	if !ok {
		return "", fmt.Errorf("cannot run machines of architecture %q, only amd64 and arm64", arch)
	}
	name := p.name
	if q.Path != "" {
		name = q.Path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed (Debian and Ubuntu: apt install %s; others: package qemu): %w", name, p.debian, err)
	}
	return path, nil
}

// Run implements [runner.Runner].
func (q QEMU) Run(ctx context.Context, m runner.Machine, stdin io.Reader, stdout io.Writer) error {
	path, err := q.find(m.Arch)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lkx-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	qmp := filepath.Join(dir, "qmp")
	args, err := arguments(m, qmp, accelerator(m.Accel, m.Arch, host()))
	if err != nil {
		return err
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &errs
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	ended := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		select {
		case <-m.PowerDown:
			failed <- powerDown(ctx, qmp)
		case <-ended:
			failed <- nil
		}
	}()
	err = cmd.Wait()
	close(ended)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(errs.String()))
	}
	return <-failed
}

// errNoButton is why a machine cannot be powered down.
var errNoButton = errors.New("pressing the power button")
