package service

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/backoff"
	"github.com/lkx-os/lkx/components/internal/logs"
)

// Where containerd is, listens, and is configured.
const (
	Containerd    = "/usr/bin/containerd"
	Socket        = "/run/containerd/containerd.sock"
	runtimeConfig = "/etc/containerd/runtime-config.toml"
	containerdLog = "/var/log/containerd.log"
)

const (
	reminder   = 10 * time.Second // how often it is said that containerd is waited for
	tooLong    = time.Minute      // until containerd listens; then it is started again
	lastMoment = 5 * time.Second  // between SIGTERM and SIGKILL
)

// Daemon runs containerd until ctx is done, and again whenever it ends.
func Daemon(ctx context.Context, log *log.Logger, console io.Writer) {
	config := map[string]string{}
	if f, err := os.Open(runtimeConfig); err == nil {
		config = parseConfig(f)
		f.Close()
	}
	var pause backoff.Backoff
	for {
		started := time.Now()
		err := daemonOnce(ctx, log, console, config)
		if ctx.Err() != nil {
			return
		}
		wait := pause.Next(time.Since(started))
		log.Printf("containerd: %v; restart %d in %v; see %s", err, pause.Restarts, wait, containerdLog)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// parseConfig reads the lines `key = "value"` that LinuxKit's runtime-config.toml
// has: cliopts, stdout, stderr.
func parseConfig(r io.Reader) map[string]string {
	out := map[string]string{}
	for s := bufio.NewScanner(r); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), "=")
		if key = strings.TrimSpace(key); ok && !strings.HasPrefix(key, "#") {
			out[key] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return out
}

// daemonOnce runs containerd to its end. It must not outlive this process, for
// then there would be two: the kernel sees to that, which counts the parent by
// threads. Its shims, and so the services, live on.
func daemonOnce(ctx context.Context, log *log.Logger, console io.Writer, config map[string]string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, Containerd, strings.Fields(config["cliopts"])...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = lastMoment
	out, errs := config["stdout"], config["stderr"]
	own := output(out, console)
	defer own.Close()
	cmd.Stdout, cmd.Stderr = own, own
	if errs != out {
		other := output(errs, console)
		defer other.Close()
		cmd.Stderr = other
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	up, cancel := context.WithCancel(ctx)
	defer cancel()
	go awaitSocket(up, log, cmd.Process)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return fmt.Errorf("exited with status 0")
}

// output is where containerd's output goes: "stdout" and "stderr" are the
// console, a path is a file. Unsaid, it is the usual log.
func output(where string, console io.Writer) io.WriteCloser {
	switch where {
	case "stdout", "stderr":
		return logs.Open(containerdLog, "[containerd] ", console)
	case "":
		where = containerdLog
	}
	return logs.Open(where, "", nil)
}

// awaitSocket waits until containerd listens. It says so while it waits, and
// ends a containerd that takes too long.
func awaitSocket(ctx context.Context, log *log.Logger, p *os.Process) {
	started, next := time.Now(), reminder
	for sleep(ctx, 20*time.Millisecond) {
		if conn, err := net.Dial("unix", Socket); err == nil {
			conn.Close()
			return
		}
		waited := time.Since(started)
		switch {
		case waited > tooLong:
			log.Printf("containerd does not listen on %s after %v: killing it", Socket, tooLong)
			_ = p.Kill() // ended by itself otherwise
			return
		case waited > next:
			log.Printf("waiting for containerd to listen on %s, %v by now; see %s", Socket, next, containerdLog)
			next += reminder
		}
	}
}

// sleep waits, and tells whether ctx was not done before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
