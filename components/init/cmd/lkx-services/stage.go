package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"

	"github.com/lkx-os/lkx/components/init/internal/control"
	"github.com/lkx-os/lkx/components/init/internal/gate"
	"github.com/lkx-os/lkx/components/init/internal/oneshot"
	"github.com/lkx-os/lkx/components/init/internal/power"
	"github.com/lkx-os/lkx/components/init/internal/service"
	"github.com/lkx-os/lkx/components/init/internal/vsock"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/logs"
	"github.com/lkx-os/lkx/components/internal/memlog"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// version is that of the component images.
const version = "0.1"

// ownLog is the log of what this program says.
const ownLog = logDir + "/lkx.log"

// queries are the sockets at which logs can be read: where LinuxKit's programs
// look, and one in a directory that can be bound into a container without more.
var queries = []string{memlog.QuerySocket, "/run/log/memlogdq.sock"}

// stage is a part of the system's life: what this process is there for.
type stage struct {
	options
	name   string
	log    *log.Logger
	keeper logs.Keeper
	own    io.WriteCloser  // keeps what log says; nil before the stage begins
	life   context.Context // of what serves others
	end    context.CancelFunc
}

// newStage is a stage that has not begun.
func newStage(name string, logger *log.Logger, o options) *stage {
	t := &stage{options: o, name: name, log: logger}
	t.life, t.end = context.WithCancel(context.Background())
	t.keeper.Hub = &memlog.Hub{}
	return t
}

// begin takes the logs over from the stage before. From then on what t.log says
// is kept, too.
func (t *stage) begin() {
	if _, err := os.Stat(memlog.ExternalSocket); err == nil {
		t.keeper.External = memlog.ExternalSocket
	}
	t.own = t.keeper.Open(logs.Source{Path: ownLog, Name: "lkx"})
	t.log.SetOutput(io.MultiWriter(os.Stderr, t.own))
	if t.name != "onboot" {
		t.earlier("onboot")
	}
	if t.name == "onshutdown" {
		t.services()
	}
}

// idle is a run stage without services. Why there are none it says when onboot
// has ended, and the machine can be powered off.
func (t *stage) idle(ctx context.Context, list []*bundle.Bundle) error {
	if !gate.Await(ctx) {
		return nil
	}
	t.begin()
	if len(list) == 0 {
		t.log.Printf("no services, %.1fs after kernel start", uptime.Now().Seconds())
	}
	t.lacks(list, service.Containerd, "containerd")
	t.lacks(list, oneshot.Runtime, "runc")
	t.serve(ctx, nil)
	<-ctx.Done()
	return nil
}

// lacks says that the system lacks a program without which no container of list
// can run, if it does.
func (t *stage) lacks(list []*bundle.Bundle, program, name string) {
	if _, err := os.Stat(program); err != nil && len(list) > 0 {
		t.log.Printf("no container can run: %v; add an image with %s to the manifest's init", err, name)
	}
}

func present(program string) bool {
	_, err := os.Stat(program)
	return err == nil
}

// earlier shows what the containers of an earlier stage said.
func (t *stage) earlier(kind string) {
	list, _ := bundle.List(containers + kind) // that stage has told of faults
	for _, b := range list {
		t.keeper.Load(onbootLogs+"/"+b.Name+".log", kind+"."+b.Name)
	}
}

// services shows what services and containerd said.
func (t *stage) services() {
	list, _ := bundle.List(containers + "services")
	for _, b := range list {
		for _, name := range []string{b.Name, b.Name + ".out"} {
			t.keeper.Load(logDir+"/"+name+".log", name)
		}
	}
	t.keeper.Load(logDir+"/containerd.log", "containerd")
}

func (t *stage) close() {
	t.end()
	t.log.SetOutput(os.Stderr)
	if t.own != nil {
		t.own.Close()
	}
}

// serve lets others look at the system and change it, until the stage ends. What
// is amiss about that is said, and no reason not to go on.
func (t *stage) serve(ctx context.Context, services *service.Group) {
	s := &control.Server{
		Stage: t.name, Version: version, State: state, Bundles: containers, Hub: t.keeper.Hub, Log: t.log,
		Timeout: t.stopTimeout + service.Patience, Power: power.Ask,
	}
	if services != nil {
		s.Ask = services
	}
	if l, err := control.Listen(control.Socket); err != nil {
		t.log.Print(err)
	} else {
		go s.Serve(t.life, l)
	}
	if t.keeper.External == "" {
		for _, path := range queries {
			if l, err := control.Listen(path); err != nil {
				t.log.Print(err)
			} else {
				go t.keeper.Hub.Serve(t.life, l)
			}
		}
	}
	if t.vsock > 0 {
		go func() {
			if l, err := t.listenVsock(ctx); err != nil {
				t.log.Print(err)
			} else {
				s.Serve(t.life, l)
			}
		}()
	}
}

// listenVsock listens for the host, to which the driver of a device leads that
// is loaded as others are. Connections of this system with itself take a module.
func (t *stage) listenVsock(ctx context.Context) (net.Listener, error) {
	modules := []string{"vsock"}
	if t.vsockLocal {
		modules = append(modules, "vsock_loopback")
	}
	for _, module := range modules {
		if err := exec.CommandContext(ctx, "/sbin/modprobe", module).Run(); err != nil {
			return nil, fmt.Errorf("loading the module %s: %w", module, err)
		}
	}
	l, err := vsock.Listen(t.vsock)
	if err != nil {
		return nil, err
	}
	l.Local = t.vsockLocal
	return l, nil
}
