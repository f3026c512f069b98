package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/power"
	"github.com/lkx-os/lkx/components/init/internal/setup"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/kmod"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// base makes of the root file system what programs can run on. It fails only for
// what containers cannot do without; the rest is said on the console.
func (m *machine) base() error {
	if err := m.diskRoot(); err != nil {
		return err
	}
	if err := setup.Root(); err != nil {
		return err
	}
	m.check(setup.Mounts())
	m.check(console())
	args, err := cmdline.Read()
	m.check(err)
	m.args = args
	m.check(setup.Complete())
	if args.Get("linuxkit.unified_cgroup_hierarchy") == "0" {
		m.log.Print("linuxkit.unified_cgroup_hierarchy=0: there is no cgroup v1 here; cgroup v2 is used")
	}
	m.check(power.CatchKeys())
	m.check(setup.Limits())
	m.check(setup.Memory(args))
	m.check(setup.Xattrs())
	m.trace("file systems mounted")
	if err := setup.Seal(); err != nil {
		return err
	}
	m.trace("root is read-only")
	return nil
}

// devices makes the machine ready for containers. What is amiss is said.
func (m *machine) devices() {
	m.check(m.modules())
	m.trace("modules loaded")
	m.check(setup.Optional())
	m.check(setup.Loopback())
	m.check(setup.Clock())
	m.check(setup.Hostname())
	m.check(setup.Resolver())
	go debug.FreeOSMemory() // the tables of modules leave much behind
	m.trace("host is set up")
}

// trace tells, with lkx.trace=1, when the boot has come how far.
func (m *machine) trace(what string) {
	if m.args.Get("lkx.trace") == "1" {
		m.log.Printf("trace: %.3fs %s", uptime.Now().Seconds(), what)
	}
}

// check says on the console what is wrong, a line for each fault.
func (m *machine) check(err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		m.log.Print(strings.TrimSpace(line))
	}
}

// console is this process's input and outputs from now on: the kernel may have
// had none to give.
func console() error {
	f, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("opening the console: %w", err)
	}
	defer f.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return fmt.Errorf("taking the console: %w", err)
		}
	}
	return nil
}

// sys is where the kernel shows its devices.
const sys = "/sys"

// modules loads what the devices need, and overlay, which containers do. From
// then on the kernel's wishes and new devices are served in the background.
func (m *machine) modules() error {
	started := time.Now()
	index, err := kmod.Open(m.args)
	if err != nil {
		return err
	}
	m.loader = kmod.NewLoader(index)
	errs := []error{
		// As another process, /init is the kernel's modprobe, and ends the
		// system when the hypervisor asks for it.
		sysctl("kernel/modprobe", "/init"),
		sysctl("kernel/poweroff_cmd", "/init poweroff"),
		index.StaticNodes("/dev"),
	}
	events, err := kmod.Listen()
	errs = append(errs, err,
		m.loader.Coldplug(sys),
		m.loader.LoadListed("/etc/modules-load.d"),
		m.loader.Load("overlay"))
	go m.survive("modules for the processor", func() { m.check(m.loader.Processor(sys)) })
	if events != nil {
		go m.survive("device events", func() { m.serve(events) })
	}
	m.log.Printf("%d modules loaded in %v, %v after kernel start", m.loader.Loaded(),
		time.Since(started).Round(time.Millisecond), uptime.Now().Round(time.Millisecond))
	return errors.Join(errs...)
}

func sysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
		return fmt.Errorf("setting a kernel parameter: %w", err)
	}
	return nil
}

// serve watches the power buttons, those that are there and those that come,
// and loads the modules for new devices.
func (m *machine) serve(events *kmod.Events) {
	watched := map[string]bool{}
	watch := func(name string) {
		if watched[name] {
			return
		}
		watched[name] = true
		go m.survive("power button", func() {
			m.check(power.Watch(name, func() { m.request(power.Off) }))
		})
	}
	inputs, _ := filepath.Glob("/dev/input/event*") // the pattern is right
	for _, name := range inputs {
		watch(name)
	}
	for {
		e, err := events.Next()
		if err != nil { // some were lost: look at everything
			m.check(err)
			m.check(m.loader.Coldplug(sys))
			continue
		}
		name := filepath.Join("/dev", e["DEVNAME"])
		switch {
		case e["ACTION"] == "remove":
			delete(watched, name)
		case e["MODALIAS"] != "":
			m.check(m.loader.Device(e["MODALIAS"]))
		case e["SUBSYSTEM"] == "input" && strings.HasPrefix(e["DEVNAME"], "input/event"):
			watch(name)
		}
	}
}
