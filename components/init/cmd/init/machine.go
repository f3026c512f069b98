package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/gate"
	"github.com/lkx-os/lkx/components/init/internal/power"
	"github.com/lkx-os/lkx/components/init/internal/reap"
	"github.com/lkx-os/lkx/components/init/internal/scripts"
	"github.com/lkx-os/lkx/components/init/internal/setup"
	"github.com/lkx-os/lkx/components/internal/backoff"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/kmod"
)

const (
	services = "/usr/bin/lkx-services" // the program that runs the containers
	volumes  = "/containers/volumes"
)

// environment is that of all programs started here.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=linux"}

// machine is the system while it runs.
type machine struct {
	log      *log.Logger
	args     cmdline.Args
	kids     *reap.Reaper
	scripts  *scripts.Runner
	loader   *kmod.Loader
	requests chan power.Action // to go down
	hurry    context.Context   // done once that is asked for again
	bare     bool              // in an initramfs that has not found the root file system
}

// run is the life of the system. It returns only if the kernel refuses to end it.
func run() {
	up, down := context.WithCancel(context.Background())
	hurry, now := context.WithCancel(context.Background())
	m := &machine{
		log: log.New(os.Stderr, "lkx: ", 0), kids: reap.New(),
		requests: make(chan power.Action, 1), hurry: hurry,
	}
	m.scripts = &scripts.Runner{Log: m.log, Kids: m.kids, Environment: environment}
	go m.listen()
	booted := make(chan struct{})
	go func() {
		defer close(booted)
		m.survive("boot", func() { m.boot(up) })
	}()
	action := <-m.requests
	m.log.Print(action)
	down()
	go func() {
		<-m.requests
		m.log.Print("asked again: not waiting any longer")
		now()
	}()
	<-booted
	m.survive("shutdown", m.shutdown)
	m.log.Printf("%v now", action)
	if err := power.Now(action); err != nil {
		m.log.Print(err)
	}
	select {} // the first process must not end
}

// survive calls f. A fault in it must not end the first process, which the
// kernel does not survive.
func (m *machine) survive(what string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			m.log.Printf("internal fault in %s: %v\n%s", what, r, debug.Stack())
		}
	}()
	f()
}

// listen takes the signals that ask to go down.
func (m *machine) listen() {
	signal.Notify(make(chan os.Signal, 1)) // the others do nothing, where they would end another program
	signals := make(chan os.Signal, 4)
	for s := range power.Signals {
		signal.Notify(signals, s)
	}
	for s := range signals {
		m.request(power.Signals[s])
	}
}

// request asks for the machine to go down. One request that waits is enough.
func (m *machine) request(a power.Action) {
	select {
	case m.requests <- a:
	default:
	}
}

// boot brings the system up and keeps it up until ctx is done. What runs the
// services is started at once, so that containerd is there when it is needed;
// it waits for the gate, as [gate.Gate] has it.
func (m *machine) boot(ctx context.Context) {
	if err := m.base(); err != nil {
		m.refuse(err)
		return
	}
	closed, err := gate.Close()
	m.check(err) // services start too early then
	services, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.survive("services", func() { m.serviceStage(services) })
	}()
	m.devices()
	if err := m.onboot(ctx); err != nil {
		stop()
		<-ended
		if ctx.Err() == nil {
			m.refuse(err)
		}
		return
	}
	closed.Open()
	m.scripts.Run(ctx, scripts.Start, scripts.Containerd, "")
	<-ended
}

// onboot mounts the volumes and runs the onboot containers, and what is to be
// run among them.
func (m *machine) onboot(ctx context.Context) error {
	m.scripts.Run(ctx, scripts.Start, "", scripts.Volumes)
	if err := setup.Volumes(volumes); err != nil {
		return err
	}
	m.trace("volumes mounted")
	m.scripts.Run(ctx, scripts.Start, scripts.Volumes, scripts.Onboot)
	if err := m.stage(ctx, "onboot"); err != nil {
		return err
	}
	m.trace("onboot containers have ended")
	m.scripts.Run(ctx, scripts.Start, scripts.Onboot, scripts.Containerd)
	return nil
}

// serviceStage runs the services until ctx is done.
func (m *machine) serviceStage(ctx context.Context) {
	var pause backoff.Backoff
	for {
		started := time.Now()
		err := m.stage(ctx, "run")
		if err == nil || ctx.Err() != nil {
			return
		}
		wait := pause.Next(time.Since(started))
		m.log.Printf("%v; restart %d in %v", err, pause.Restarts, wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// refuse says what can be done when the boot is over.
func (m *machine) refuse(err error) {
	if !errors.Is(err, errSaid) {
		m.check(fmt.Errorf("boot stopped: %w", err))
	}
	if m.args.Get("lkx.onboot") == "poweroff" {
		m.request(power.Off)
		return
	}
	if m.bare {
		m.log.Print("waiting to be powered off; on the kernel's command line, lkx.onboot=poweroff powers off at once")
		return
	}
	m.log.Print("waiting to be powered off; on the kernel's command line, lkx.onboot=continue starts the services all the same, lkx.onboot=poweroff powers off at once")
}

// stage runs lkx-services for one stage of the system's life. When ctx is done
// it is asked to end, and made to when there is hurry.
func (m *machine) stage(ctx context.Context, name string) error {
	child, err := m.kids.Start(services, []string{name}, environment)
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	select {
	case status = <-child.Done:
		return ended(name, status)
	case <-ctx.Done():
	}
	if err := unix.Kill(child.Pid, unix.SIGTERM); err != nil {
		m.log.Printf("stopping lkx-services %s: %v", name, err)
	}
	select {
	case status = <-child.Done:
	case <-m.hurry.Done():
		if err := unix.Kill(child.Pid, unix.SIGKILL); err != nil {
			m.log.Printf("killing lkx-services %s: %v", name, err)
		}
		status = <-child.Done
	}
	return ended(name, status)
}

// errSaid is a failure that lkx-services has told of itself.
var errSaid = errors.New("failed")

// ended is what the end of lkx-services means.
func ended(name string, status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("lkx-services %s: ended by signal %d (%v)", name, status.Signal(), status.Signal())
	case status.ExitStatus() == 1:
		return fmt.Errorf("lkx-services %s: %w", name, errSaid)
	case status.ExitStatus() != 0:
		return fmt.Errorf("lkx-services %s: ended with status %d", name, status.ExitStatus())
	}
	return nil
}

// grace is how long what is left at the end has after SIGTERM.
const grace = 2 * time.Second

// shutdown runs the onshutdown containers, then ends all processes.
func (m *machine) shutdown() {
	if m.bare {
		return // nothing runs
	}
	m.scripts.Run(m.hurry, scripts.End, "", scripts.Onshutdown)
	if err := m.stage(m.hurry, "onshutdown"); err != nil {
		m.log.Print(err)
	}
	m.scripts.Run(m.hurry, scripts.End, scripts.Onshutdown, "")
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.Kill(-1, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			m.log.Printf("ending the remaining processes: %v", err)
		}
		for end := time.Now().Add(grace); !m.kids.Alone() && time.Now().Before(end) && m.hurry.Err() == nil; {
			time.Sleep(10 * time.Millisecond)
		}
	}
}
