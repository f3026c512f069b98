// Package qemu runs machines with QEMU: virtio devices, user networking, the
// serial console on the given streams.
package qemu

import (
	"cmp"
	"context"
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

// program is the QEMU for an architecture, the package that has it, and which
// of its machines is used.
type program struct{ name, debian, machine string }

var programs = map[string]program{
	"amd64": {"qemu-system-x86_64", "qemu-system-x86", "q35"},
	"arm64": {"qemu-system-aarch64", "qemu-system-arm", "virt"},
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
	cmd.Stdout, cmd.Stderr = stdout, &complaints
	cmd.ExtraFiles = []*os.File{theirs} // monitorFD
	// A QEMU that ends itself leaves the terminal as it was.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	feed, err := input(cmd, stdin)
	if err == nil {
		err = cmd.Start()
	}
	theirs.Close()
	if err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	go feed()
	go control.pressButton(m.PowerDown, powerButton(m))
	err = cmd.Wait()
	end := control.wait()
	switch {
	case err == nil && end.reason == "guest-shutdown" && !end.panicked:
		return nil
	case ctx.Err() != nil && end.pressed:
		return fmt.Errorf("the guest did not power off when told to: %w", context.Cause(ctx))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return complaints.explain(path, err)
	}
	return end.fault()
}

// input connects stdin. A file is passed on: of a terminal QEMU then makes a
// console. Anything else is copied by feed, which is not waited for, as reading
// may never end.
func input(cmd *exec.Cmd, stdin io.Reader) (feed func(), err error) {
	switch in := stdin.(type) {
	case nil:
		return func() {}, nil
	case *os.File:
		cmd.Stdin = in
		return func() {}, nil
	}
	pipe, err := cmd.StdinPipe()
	return func() {
		defer pipe.Close()
		_, _ = io.Copy(pipe, stdin) // fails when QEMU ends, which Run tells
	}, err
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
