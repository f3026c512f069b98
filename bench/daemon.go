package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// daemon is a buildkitd with a directory, and a builder of buildx, of its own.
type daemon struct {
	bin string // directory of buildkitd, buildctl and buildx
	dir string
	cmd *exec.Cmd
	log *os.File
}

// newDaemon is one that fetches images from a mirror; it does not run yet.
func newDaemon(bin, dir, mirror string) (*daemon, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("buildkitd needs root: run with sudo, or leave BuildKit's rows out with -rows local")
	}
	d := &daemon{bin: bin, dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("[registry.%q]\n  mirrors = [%q]\n[registry.%q]\n  http = true\n", registryHost, mirror, mirror)
	if err := os.WriteFile(filepath.Join(dir, "buildkitd.toml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(dir, "buildx")); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(bin, "buildx"), "create", "--name", "bench", "--driver", "remote", d.address())
	cmd.Env = append(os.Environ(), d.env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making a builder: %w\n%s", err, out)
	}
	return d, nil
}

func (d *daemon) address() string { return "unix://" + filepath.Join(d.dir, "sock") }

// env makes buildx use the daemon, and leaves the user's configuration alone.
func (d *daemon) env() []string {
	return []string{
		"BUILDX_CONFIG=" + filepath.Join(d.dir, "buildx"), "DOCKER_CONFIG=" + filepath.Join(d.dir, "docker"),
		"BUILDX_BUILDER=bench", "BUILDX_NO_DEFAULT_ATTESTATIONS=1",
	}
}

// fresh starts the daemon with nothing in its store.
func (d *daemon) fresh(ctx context.Context) error {
	if err := d.stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.root()); err != nil {
		return err
	}
	var err error
	if d.log, err = os.Create(filepath.Join(d.dir, "log")); err != nil {
		return err
	}
	d.cmd = exec.Command(filepath.Join(d.bin, "buildkitd"), "--root", d.root(), "--addr", d.address(),
		"--config", filepath.Join(d.dir, "buildkitd.toml"), "--oci-worker-net", "host")
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.cmd = nil
		return err
	}
	for range 300 {
		err = exec.CommandContext(ctx, filepath.Join(d.bin, "buildctl"), "--addr", d.address(), "debug", "workers").Run()
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("buildkitd did not start (%w): see %s", err, d.log.Name())
}

func (d *daemon) root() string { return filepath.Join(d.dir, "root") }

// stop ends the daemon, if it runs.
func (d *daemon) stop() error {
	if d.cmd == nil {
		return nil
	}
	cmd := d.cmd
	d.cmd = nil
	defer d.log.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // it was asked to end
	return nil
}

// sampling is how often the memory of the daemon is looked at.
const sampling = 50 * time.Millisecond

// measure runs a client of the daemon. Memory is that of the daemon and of all
// it started, sampled; bytes and time are the client's, too.
func (d *daemon) measure(ctx context.Context, env []string, args ...string) (Sample, error) {
	pid := d.cmd.Process.Pid
	before, err := readIO(pid)
	if err != nil {
		return Sample{}, err
	}
	cpu, err := readCPU(pid)
	if err != nil {
		return Sample{}, err
	}
	var peak atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			peak.Store(max(peak.Load(), residentTree(pid)))
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	s, err := measure(ctx, append(d.env(), env...), args...)
	close(done)
	<-ended
	if err != nil {
		return s, err
	}
	s.Memory = peak.Load()
	after, err := readIO(pid)
	if err != nil {
		return s, err
	}
	s.IO = s.IO.plus(after.minus(before))
	end, err := readCPU(pid)
	s.CPU += end - cpu
	return s, err
}

// residentTree is the memory of a process and its descendants, in bytes. What
// has ended meanwhile counts nothing.
func residentTree(pid int) int64 {
	var sum int64
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
		if f := strings.Fields(string(text)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			sum = pages * int64(os.Getpagesize())
		}
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		for child := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				sum += residentTree(n)
			}
		}
	}
	return sum
}
