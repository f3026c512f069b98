package main

import (
	"cmp"

	"github.com/lkx-os/lkx/components/init/internal/newroot"
	"github.com/lkx-os/lkx/components/init/internal/power"
	"github.com/lkx-os/lkx/components/init/internal/setup"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/kmod"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// newRoot is where the root file system is mounted before it is the root.
const newRoot = "/newroot"

// diskRoot goes from an initramfs over to the root file system that the kernel's
// command line names with lkx.root=, and does not return then: the init there,
// which is not on an initramfs any more, makes the machine ready. It returns nil
// if there is none to go over to.
func (m *machine) diskRoot() error {
	if initramfs, err := setup.Initramfs(); err != nil || !initramfs {
		return err
	}
	release, unmounted := setup.Kernel()
	m.args, _ = cmdline.Read() // a system that does without is told of it later
	wanted, err := newroot.Parse(m.args)
	if wanted == nil && err == nil {
		return release()
	}
	m.bare = true
	m.check(unmounted)
	m.check(console())
	m.check(power.CatchKeys())
	if wanted == nil {
		return err
	}
	m.check(err)
	name, err := m.mountRoot(wanted)
	if err != nil {
		return err
	}
	if err := release(); err != nil {
		return err
	}
	return newroot.Enter(newRoot, name)
}

// mountRoot finds and mounts the root file system. It returns the name of its
// init.
func (m *machine) mountRoot(wanted *newroot.Wanted) (string, error) {
	index, err := kmod.Open(m.args)
	if err != nil {
		return "", err
	}
	index.Prune()
	loader := kmod.NewLoader(index)
	m.check(sysctl("kernel/modprobe", "/init"))
	changed, err := m.changes()
	m.check(err)
	device, err := newroot.NewFinder(m.log, func() error { return loader.Coldplug(sys) }, changed).Find(wanted)
	if err != nil {
		return "", err
	}
	fstype := cmp.Or(wanted.Type, device.FS.Type)
	m.check(loader.Load(fstype))
	if device.Off > 0 {
		m.check(loader.Load("loop"))
	}
	if err := device.Mount(newRoot, fstype); err != nil {
		return "", err
	}
	m.log.Printf("root is on %v; %d modules loaded for it, %.1fs after kernel start", device, loader.Loaded(), uptime.Now().Seconds())
	return newroot.Init(newRoot)
}

// changes tells when the kernel has said something about its devices.
func (m *machine) changes() (<-chan struct{}, error) {
	events, err := kmod.Listen()
	if err != nil {
		return nil, err
	}
	changed := make(chan struct{}, 1)
	go m.survive("device events", func() {
		for {
			if _, err := events.Next(); err != nil {
				m.check(err) // some were lost, and so there were some
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	return changed, nil
}
