// Command lkx-services runs the containers of the system: the onboot ones, one
// after the other, the services under containerd, watched, and at the end the
// onshutdown ones. PID 1 starts it, and sends SIGTERM when the system is to end.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/mnt"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "hook" {
		if err := hook(os.Args[2], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "lkx:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	run(ctx, readOptions())
}

// Where containers are, as LinuxKit lays them out.
const (
	onbootDir     = "/containers/onboot"
	servicesDir   = "/containers/services"
	onshutdownDir = "/containers/onshutdown"
	volumesDir    = "/containers/volumes"
)

// booted is there when onboot has run: it must not run twice, even if this
// program is started again.
const booted = "/run/lkx/booted"

var console = &lineWriter{w: os.Stderr}

// say writes a line to the console.
func say(format string, args ...any) { console.line("lkx: " + fmt.Sprintf(format, args...)) }

// run runs everything, until ctx ends.
func run(ctx context.Context, o options) {
	if err := os.MkdirAll("/run/lkx", 0o755); err != nil {
		say("%v", err)
	}
	if o.logConsole {
		quietKernel()
	}
	started := true
	if _, err := os.Stat(booted); err != nil {
		mountVolumes()
		started = onboot(ctx, o)
	}
	if started && ctx.Err() == nil {
		if err := os.WriteFile(booted, nil, 0o644); err != nil {
			say("%v", err)
		}
		runServices(ctx, o)
	}
	<-ctx.Done()
	runAll(context.Background(), onshutdownDir, o)
}

// onboot runs the onboot containers. false means that the boot stops here.
func onboot(ctx context.Context, o options) bool {
	if err := os.MkdirAll(onbootLogs, 0o755); err == nil {
		_ = os.Symlink(onbootLogs, "/var/log/onboot")
	}
	failed := runAll(ctx, onbootDir, o)
	if failed == "" || ctx.Err() != nil {
		return true
	}
	switch o.onboot {
	case "continue":
		say("onboot %s failed; going on, as lkx.onboot=continue says", failed)
		return true
	case "poweroff":
		say("onboot %s failed; powering off, as lkx.onboot=poweroff says", failed)
		_ = unix.Kill(1, unix.SIGUSR2)
	default:
		say("onboot %s failed; the boot stops here, and no service is started", failed)
		say("its output is above, and in /run/log/onboot; lkx.onboot=continue on the kernel command line boots all the same")
	}
	return false
}

// runAll runs the containers below dir in the order of their names. It stops at
// the first that fails, unless failures are to be passed over, and returns the
// name of the last that failed.
func runAll(ctx context.Context, dir string, o options) (failed string) {
	for _, b := range bundles(dir) {
		if ctx.Err() != nil {
			return failed
		}
		status, err := runOnce(ctx, b)
		switch {
		case err != nil:
			say("%s: %v", b.Name, err)
		case status != 0:
			say("%s: exited with status %d", b.Name, status)
		default:
			continue
		}
		failed = b.Name
		if o.onboot != "continue" && dir == onbootDir {
			return failed
		}
	}
	return failed
}

// bundles lists the containers below dir: none if one of them cannot be read.
func bundles(dir string) []*bundle.Bundle {
	list, err := bundle.List(dir)
	if err != nil {
		say("%v", err)
	}
	return list
}

// mountVolumes makes each volume's merged/ of its lower/ and a tmpfs.
func mountVolumes() {
	for _, v := range bundles(volumesDir) {
		tmp := filepath.Join(v.Dir, "tmp")
		if _, err := os.Stat(tmp); err != nil {
			continue // read-only: bound as it is
		}
		for _, m := range []mnt.Mount{
			{Destination: tmp, Type: "tmpfs", Source: "tmpfs"},
			{Destination: filepath.Join(v.Dir, "merged"), Type: "overlay", Source: "overlay", Options: []string{
				"lowerdir=" + filepath.Join(v.Dir, "lower"), "upperdir=" + tmp + "/upper", "workdir=" + tmp + "/work",
			}},
		} {
			if err := m.Do(); err != nil {
				say("volume %s: %v", v.Name, err)
				break
			}
		}
	}
}

// options are what the kernel's command line says to this program.
type options struct {
	onboot      string        // "continue" or "poweroff" when an onboot container fails; else the boot stops
	logConsole  bool          // services' output goes to the console too
	stopTimeout time.Duration // between SIGTERM and SIGKILL
}

func readOptions() options {
	args, err := cmdline.Read()
	if err != nil {
		say("%v", err)
	}
	return parseOptions(args)
}

func parseOptions(args cmdline.Args) options {
	o := options{onboot: args.Get("lkx.onboot"), logConsole: args.Get("lkx.log") == "console", stopTimeout: 10 * time.Second}
	if n, err := strconv.Atoi(args.Get("lkx.stop-timeout")); err == nil && n >= 0 {
		o.stopTimeout = time.Duration(n) * time.Second
	}
	return o
}

// quietKernel keeps the kernel's lesser messages off a console that people read.
func quietKernel() {
	_ = os.WriteFile("/proc/sys/kernel/printk", []byte("4"), 0)
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// lineWriter writes whole lines, whoever writes them.
type lineWriter struct {
	mu sync.Mutex
	w  *os.File
}

func (l *lineWriter) line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.WriteString(s + "\n")
}
