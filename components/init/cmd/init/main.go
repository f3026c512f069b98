// Command init is PID 1: it makes the root file system usable, loads what the
// hardware needs, starts lkx-services, which runs the containers, reaps
// orphans, and ends the system. Called as "modprobe", as the kernel does when it
// misses a module, it loads that.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if filepath.Base(os.Args[0]) == "modprobe" {
		if err := modprobe(os.Args[1:]); err != nil {
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "lkx: init is PID 1, which the kernel starts; it cannot be run by hand")
		os.Exit(1)
	}
	boot()
	supervise()
}

// say writes a line to the console.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "lkx: "+format+"\n", args...)
}

// boot brings the system up to where containers can run. What goes wrong is
// said; nothing stops here, for there is nobody else to ask.
func boot() {
	steps := []struct {
		what string
		do   func() error
	}{
		{"making the root a mount", moveRoot},
		{"mounting", mountAll},
		{"applying extended attributes", applyXattrs},
		{"preparing the console", openConsole},
		{"loading modules", loadModules},
		{"setting up the host", setupHost},
		{"closing the root", closeRoot},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			say("%s: %v", s.what, err)
		}
	}
}

// The program that runs containers.
const services = "/usr/bin/lkx-services"

// supervise keeps lkx-services running until the system is to end.
func supervise() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGCHLD)
	for _, e := range endings {
		signal.Notify(signals, e.signals...)
	}
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	// The kernel sends SIGINT for ctrl-alt-del, instead of restarting at once.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	go watchPowerButton(signals)
	child := start(services)
	var end *ending
	for s := range signals {
		if s == unix.SIGCHLD {
			if !reap(child) {
				continue
			}
			if end != nil {
				finish(end)
			}
			say("lkx-services ended; starting it again")
			time.Sleep(time.Second)
			child = start(services)
			continue
		}
		e := endingOf(s)
		if e == nil || end != nil {
			continue
		}
		end = e
		say("%s", e.doing)
		if child <= 0 {
			finish(end)
		}
		_ = unix.Kill(child, unix.SIGTERM)
	}
}

// start starts a program on the console, and returns its pid, or 0. It is
// waited for by reap, with all the orphans.
func start(name string, args ...string) int {
	p, err := os.StartProcess(name, append([]string{name}, args...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		say("starting %s: %v", name, err)
		return 0
	}
	pid := p.Pid
	_ = p.Release()
	return pid
}

// reap collects what has ended, and tells whether pid was among it.
func reap(pid int) bool {
	found := false
	for {
		got, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return found
		}
		found = found || got == pid
	}
}

// ending is a way for the system to end.
type ending struct {
	doing   string
	cmd     int         // of reboot(2)
	signals []os.Signal // that ask for it, as with busybox's init and systemd
}

var endings = []ending{
	{"powering off", unix.LINUX_REBOOT_CMD_POWER_OFF, []os.Signal{unix.SIGUSR2, realTime(4)}},
	{"rebooting", unix.LINUX_REBOOT_CMD_RESTART, []os.Signal{unix.SIGTERM, unix.SIGINT, realTime(5)}},
	{"halting", unix.LINUX_REBOOT_CMD_HALT, []os.Signal{unix.SIGUSR1, realTime(3)}},
}

// realTime is SIGRTMIN+n; C libraries leave signals from 34 on to programs.
func realTime(n int) os.Signal { return syscall.Signal(34 + n) }

// endingOf says what a signal asks for.
func endingOf(s os.Signal) *ending {
	for i := range endings {
		if slices.Contains(endings[i].signals, s) {
			return &endings[i]
		}
	}
	return nil
}

// killDelay is how long what is left may take to end when it is asked to.
const killDelay = 2 * time.Second

// finish ends the system.
func finish(e *ending) {
	_ = unix.Kill(-1, unix.SIGTERM)
	for deadline := time.Now().Add(killDelay); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err == unix.ECHILD {
			break
		}
	}
	_ = unix.Kill(-1, unix.SIGKILL)
	unmountAll()
	unix.Sync()
	say("%s now", e.doing)
	_ = unix.Reboot(e.cmd)
	select {}
}
