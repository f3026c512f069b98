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

	"github.com/lkx-os/lkx/components/init/internal/record"
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

// Daemon is containerd, kept running.
type Daemon struct {
	Log     *log.Logger
	Console io.Writer // for what the configuration sends there
	Keeper  *logs.Keeper
	Note    *record.Note
}

// Run runs containerd until ctx is done, and again whenever it ends.
func (d *Daemon) Run(ctx context.Context) {
	config := map[string]string{}
	if f, err := os.Open(runtimeConfig); err == nil {
		config = parseConfig(f)
		f.Close()
	}
	pause := backoff.Backoff{Restarts: d.Note.Get().Restarts}
	defer d.set(func(r *record.Record) { r.State, r.Ready, r.PID = record.Waiting, false, 0 })
	for {
		d.set(func(r *record.Record) { r.State = record.Starting })
		started := time.Now()
		err := d.once(ctx, config)
		if ctx.Err() != nil {
			return
		}
		wait := pause.Next(time.Since(started))
		d.set(func(r *record.Record) {
			*r = record.Record{State: record.Pausing, Restarts: pause.Restarts, LastExit: err.Error()}
		})
		d.Log.Printf("containerd: %v; restart %d in %v; see %s", err, pause.Restarts, wait, containerdLog)
		if !sleep(ctx, wait) {
			return
		}
	}
}

func (d *Daemon) set(f func(*record.Record)) {
	if _, err := d.Note.Change(f); err != nil {
		d.Log.Printf("containerd: %v", err)
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

// once runs containerd to its end. It must not outlive this process, for
// then there would be two: the kernel sees to that, which counts the parent by
// threads. Its shims, and so the services, live on.
func (d *Daemon) once(ctx context.Context, config map[string]string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, Containerd, strings.Fields(config["cliopts"])...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = lastMoment
	out, errs := config["stdout"], config["stderr"]
	own := d.output(out)
	defer own.Close()
	cmd.Stdout, cmd.Stderr = own, own
	if errs != out {
		other := d.output(errs)
		defer other.Close()
		cmd.Stderr = other
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.set(func(r *record.Record) { r.PID = cmd.Process.Pid })
	up, cancel := context.WithCancel(ctx)
	defer cancel()
	go d.awaitSocket(up, cmd.Process)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return fmt.Errorf("exited with status 0")
}

// output is where containerd's output goes: "stdout" and "stderr" are the
// console, a path is a file. Unsaid, it is the usual log.
func (d *Daemon) output(where string) io.WriteCloser {
	source := logs.Source{Path: where, Name: "containerd", Prefix: "[containerd] "}
	switch where {
	case "stdout", "stderr":
		source.Path, source.Console = containerdLog, d.Console
	case "":
		source.Path = containerdLog
	}
	return d.Keeper.Open(source)
}

// awaitSocket waits until containerd listens. It says so while it waits, and
// ends a containerd that takes too long.
func (d *Daemon) awaitSocket(ctx context.Context, p *os.Process) {
	started, next := time.Now(), reminder
	for sleep(ctx, 20*time.Millisecond) {
		if listens(Socket) {
			d.set(func(r *record.Record) { r.State, r.Ready = record.Running, true })
			return
		}
		waited := time.Since(started)
		switch {
		case waited > tooLong:
			d.Log.Printf("containerd does not listen on %s after %v: killing it", Socket, tooLong)
			_ = p.Kill() // ended by itself otherwise
			return
		case waited > next:
			d.Log.Printf("waiting for containerd to listen on %s, %v by now; see %s", Socket, next, containerdLog)
			next += reminder
		}
	}
}

// listens tells whether somebody does on a socket.
func listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
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
