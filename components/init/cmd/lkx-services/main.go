// Command lkx-services runs the containers of the system. The first process
// calls it for each part of the system's life:
//
//	lkx-services onboot        the onboot containers, to their ends
//	lkx-services run           the services, until SIGTERM
//	lkx-services onshutdown    the onshutdown containers
//
// and the container runtime for a container that is about to start:
//
//	lkx-services hook BUNDLE
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/gate"
	"github.com/lkx-os/lkx/components/init/internal/oneshot"
	"github.com/lkx-os/lkx/components/init/internal/service"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// Where things are. Those in /run last as long as the system runs.
const (
	containers = "/containers/"
	state      = "/run/lkx/"
	cgroup     = "/"
	onbootLogs = "/run/log/onboot"
	logDir     = "/var/log"
	helper     = "/usr/bin/lkx-services"
)

// errSaid is a failure that the console has already.
var errSaid = errors.New("said already")

func main() {
	logger := log.New(os.Stderr, "lkx: ", 0)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	err := command(ctx, logger, os.Args[1:])
	if err != nil && !errors.Is(err, errSaid) {
		logger.Print(err)
	}
	if err != nil {
		os.Exit(1)
	}
}

func command(ctx context.Context, logger *log.Logger, words []string) error {
	if len(words) == 2 && words[0] == "hook" {
		b, err := bundle.Load(words[1])
		if err != nil {
			return err
		}
		return b.Hook(os.Stdin)
	}
	o, err := readOptions()
	if err != nil {
		logger.Print(err) // the defaults do
	}
	if len(words) == 1 {
		switch words[0] {
		case "onboot":
			return onboot(ctx, logger, o)
		case "run":
			return run(ctx, logger, o)
		case "onshutdown":
			return onshutdown(ctx, logger, o)
		}
	}
	return fmt.Errorf("wants one of onboot, run, onshutdown, not %q", words)
}

// options are what the kernel's command line says to this program.
type options struct {
	onboot      string        // "continue": a failed onboot container does not stop the boot
	console     bool          // services speak on the console too
	debug       bool          // of the container runtime
	stopTimeout time.Duration // between SIGTERM and SIGKILL
}

func readOptions() (options, error) {
	args, err := cmdline.Read()
	o, perr := parseOptions(args)
	if err == nil {
		err = perr
	}
	return o, err
}

func parseOptions(args cmdline.Args) (options, error) {
	timeout, err := args.Duration("lkx.stop-timeout", 10*time.Second)
	return options{
		onboot:      args.Get("lkx.onboot"),
		console:     args.Get("lkx.log") == "console",
		debug:       args.Get("linuxkit.runc_debug") == "1",
		stopTimeout: timeout,
	}, err
}

func (o options) runner(logger *log.Logger, stage string) *oneshot.Runner {
	return &oneshot.Runner{
		Kind: stage, Log: logger, Console: os.Stderr, Logs: onbootLogs, Work: state + stage, Cgroup: cgroup + stage,
		Helper: helper, StopTimeout: o.stopTimeout, Debug: o.debug,
	}
}

func onboot(ctx context.Context, logger *log.Logger, o options) error {
	list, err := bundle.List(containers + "onboot")
	if err != nil {
		return err
	}
	if err := os.Symlink(onbootLogs, logDir+"/onboot"); err != nil && !os.IsExist(err) {
		return fmt.Errorf("linking the logs: %w", err)
	}
	r := o.runner(logger, "onboot")
	r.Continue = o.onboot == "continue"
	failed, err := r.All(ctx, list)
	switch {
	case err != nil || failed == "" || ctx.Err() != nil:
		return err
	case r.Continue:
		logger.Printf("onboot %s failed; going on, as lkx.onboot=continue says", failed)
		return nil
	}
	logger.Printf("onboot %s failed; the boot stops here, and no service is started", failed)
	return errSaid
}

func onshutdown(ctx context.Context, logger *log.Logger, o options) error {
	list, err := bundle.List(containers + "onshutdown")
	if err != nil {
		return err
	}
	r := o.runner(logger, "onshutdown")
	r.Continue = true // the system goes down all the same
	_, err = r.All(ctx, list)
	return err
}

func run(ctx context.Context, logger *log.Logger, o options) error {
	list, err := bundle.List(containers + "services")
	if err != nil {
		return err
	}
	if _, err := os.Stat(service.Containerd); err != nil {
		switch {
		case !gate.Await(ctx):
		case len(list) > 0:
			logger.Printf("no service can run: %v; add an image with containerd to the manifest's init", err)
		default:
			logger.Printf("no services, %.1fs after kernel start", uptime.Now().Seconds())
		}
		return nil
	}
	g := &service.Group{
		Log: logger, Logs: logDir, Socket: service.Socket, State: state + "services", Cgroup: cgroup + "services",
		Helper: helper, StopTimeout: o.stopTimeout,
	}
	if o.console {
		g.Console = os.Stderr
	}
	stop, err := containerd(ctx, func(life context.Context) { service.Daemon(life, logger, os.Stderr) })
	if err != nil || ctx.Err() != nil {
		stop()
		return err
	}
	err = g.Run(ctx, list)
	stop()
	return err
}
