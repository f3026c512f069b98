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
//
// Under the name lkxctl it is what people call to look at all that.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/lkxctl"
	"github.com/lkx-os/lkx/components/init/internal/oneshot"
	"github.com/lkx-os/lkx/components/init/internal/service"
	"github.com/lkx-os/lkx/components/init/internal/space"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/logs"
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
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if filepath.Base(os.Args[0]) == "lkxctl" {
		os.Exit(lkxctl.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	logger := log.New(os.Stderr, "lkx: ", 0)
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
	stages := map[string]func(context.Context, *stage) error{"onboot": onboot, "run": run, "onshutdown": onshutdown}
	if len(words) == 1 && stages[words[0]] != nil {
		t := newStage(words[0], logger, o)
		defer t.close()
		return stages[words[0]](ctx, t)
	}
	return fmt.Errorf("wants one of onboot, run, onshutdown, not %q", words)
}

// options are what the kernel's command line says to this program.
type options struct {
	onboot      string        // "continue": a failed onboot container does not stop the boot
	console     bool          // services speak on the console too
	debug       bool          // of the container runtime
	stopTimeout time.Duration // between SIGTERM and SIGKILL
	vsock       uint32        // port to be controlled on by the host; 0 for none
	vsockLocal  bool          // and by all programs of this system

	onbootTimeout, onshutdownTimeout time.Duration // of each container; 0 for none
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
	o := options{
		onboot:  args.Get("lkx.onboot"),
		console: args.Get("lkx.log") == "console",
		debug:   args.Get("linuxkit.runc_debug") == "1",
	}
	var errs [4]error
	o.stopTimeout, errs[0] = args.Duration("lkx.stop-timeout", 10*time.Second)
	o.onbootTimeout, errs[1] = args.Duration("lkx.onboot-timeout", 0)
	o.onshutdownTimeout, errs[2] = args.Duration("lkx.onshutdown-timeout", 0)
	if text := args.Get("lkx.vsock"); text != "" {
		number, rest, more := strings.Cut(text, ",")
		port, err := strconv.ParseUint(number, 10, 32)
		if err != nil || port == 0 || more && rest != "local" {
			errs[3] = fmt.Errorf("lkx.vsock=%s is neither PORT nor PORT,local; not listening", text)
		} else {
			o.vsock, o.vsockLocal = uint32(port), more
		}
	}
	return o, errors.Join(errs[:]...)
}

// runner runs the containers of this stage.
func (t *stage) runner(timeout time.Duration, list []*bundle.Bundle) *oneshot.Runner {
	if err := os.MkdirAll(onbootLogs, 0o755); err != nil {
		t.log.Print(err)
	}
	keeper := t.keeper
	keeper.Limit = logs.Limit(onbootLogs, len(list))
	return &oneshot.Runner{
		Kind: t.name, Log: t.log, Console: os.Stderr, Logs: onbootLogs, Keeper: keeper, Work: state + t.name,
		Cgroup: cgroup + t.name, Helper: helper, Timeout: timeout, StopTimeout: t.stopTimeout, Debug: t.debug,
	}
}

func onboot(ctx context.Context, t *stage) error {
	list, err := bundle.List(containers + "onboot")
	if err != nil {
		return err
	}
	if err := os.Symlink(onbootLogs, logDir+"/onboot"); err != nil && !os.IsExist(err) {
		return fmt.Errorf("linking the logs: %w", err)
	}
	t.begin()
	t.serve(ctx, nil)
	t.lacks(list, oneshot.Runtime, "runc") // they fail, and are treated as such
	r := t.runner(t.onbootTimeout, list)
	r.Continue = t.onboot == "continue"
	failed, err := r.All(ctx, list)
	switch {
	case err != nil || failed == "" || ctx.Err() != nil:
		return err
	case r.Continue:
		t.log.Printf("onboot %s failed; going on, as lkx.onboot=continue says", failed)
		return nil
	}
	t.log.Printf("onboot %s failed; the boot stops here, and no service is started", failed)
	return errSaid
}

func onshutdown(ctx context.Context, t *stage) error {
	list, err := bundle.List(containers + "onshutdown")
	if err != nil {
		return err
	}
	t.begin()
	t.serve(ctx, nil)
	r := t.runner(t.onshutdownTimeout, list)
	r.Continue = true // the system goes down all the same
	_, err = r.All(ctx, list)
	return err
}

// run begins beside the onboot stage, which has the logs and the sockets until
// it has ended.
func run(ctx context.Context, t *stage) error {
	list, err := bundle.List(containers + "services")
	if err != nil {
		return err
	}
	if !present(service.Containerd) || !present(oneshot.Runtime) {
		return t.idle(ctx, list)
	}
	stop, err := t.containerd(ctx)
	if err != nil || ctx.Err() != nil {
		stop()
		return err
	}
	t.begin()
	t.keeper.Limit = logs.Limit(logDir, 2*len(list)+1)
	g := &service.Group{
		Log: t.log, Logs: logDir, Keeper: t.keeper, Socket: service.Socket, State: state + "services", Cgroup: cgroup + "services",
		Helper: helper, StopTimeout: t.stopTimeout,
	}
	if t.console {
		g.Console = os.Stderr
	}
	go space.Watch(ctx, t.log)
	t.serve(ctx, g)
	err = g.Run(ctx, list)
	stop()
	return err
}
