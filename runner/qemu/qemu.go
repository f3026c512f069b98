// Package qemu runs machines with QEMU: virtio devices, user networking, the
// serial console on the given streams.
package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/lkx-os/lkx/runner"
)

// QEMU is a runner; the zero value finds qemu-system-ARCH in PATH.
type QEMU struct{ Path string }

var _ runner.Runner = QEMU{}

// killAfter is how long QEMU may take to end when it is told to.
const killAfter = 5 * time.Second

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
	name := cmp.Or(q.Path, p.name)
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
	args, err := arguments(m, accelerator(m.Accel, m.Arch, host()))
	if err != nil {
		return err
	}
	control, theirs, err := newMonitor()
	if err != nil {
		return fmt.Errorf("connecting to QEMU: %w", err)
	}
	defer control.conn.Close()

	var complaints head
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &complaints
	cmd.ExtraFiles = []*os.File{theirs} // monitorFD
	// A QEMU that ends itself leaves the terminal as it was.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	go control.pressButton(m.PowerDown)
	err = cmd.Wait()
	end := control.wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it is our input that does not end, not QEMU
	}
	switch {
	case ctx.Err() != nil && end.pressed:
		return fmt.Errorf("the guest did not power off when told to: %w", context.Cause(ctx))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return complaints.explain(path, err)
	}
	return end.fault()
}

// head keeps the beginning of what is written to it.
type head struct{ kept []byte }

// headSize is what is kept, in bytes; QEMU's first complaint is the one that
// matters.
const headSize = 4 << 10

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), headSize-len(h.kept))]...)
	return len(p), nil
}

// explain is the error of the QEMU at path that ended with err: its complaints,
// in one line.
func (h *head) explain(path string, err error) error {
	var said []string
	for line := range strings.Lines(string(h.kept)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), filepath.Base(path)+": ")
		if line != "" {
			said = append(said, line)
		}
	}
	if said == nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %s (%w)", path, strings.Join(said, "; "), err)
}
