package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/kmod"
	"github.com/lkx-os/lkx/components/internal/cmdline"
)

// modulesLoad lists modules to load, a file with one on each line (modules-load.d(5)).
const modulesLoad = "/etc/modules-load.d"

// loadModules loads the modules of all devices there are, of those that come
// later, and those that the system's files name.
func loadModules() error {
	loader, index, err := modules()
	if err != nil {
		return err
	}
	// Before the devices there are, so that none comes unseen between.
	events, err := kmod.Listen()
	if err == nil {
		go hotplug(loader, events)
	}
	return errors.Join(err, index.StaticNodes("/dev"), loader.Coldplug(), loader.LoadListed(modulesLoad))
}

// hotplug loads modules for devices as they come. A module that refuses is
// passed over; so are events that were lost because too many came.
func hotplug(loader *kmod.Loader, events *kmod.Events) {
	for {
		e, err := events.Next()
		switch {
		case errors.Is(err, unix.ENOBUFS):
		case err != nil:
			say("%v", err)
			return
		case e["ACTION"] == "add" && e["MODALIAS"] != "":
			_ = loader.Load(e["MODALIAS"])
		}
	}
}

func modules() (*kmod.Loader, *kmod.Index, error) {
	args, err := cmdline.Read()
	if err != nil {
		return nil, nil, err
	}
	index, err := kmod.Open(args)
	if err != nil {
		return nil, nil, err
	}
	return kmod.NewLoader(index), index, nil
}

// modprobe loads what the kernel asks for: "modprobe -q -- NAME".
func modprobe(args []string) error {
	if len(args) == 0 {
		return errors.New("no module is named")
	}
	loader, _, err := modules()
	if err != nil {
		return err
	}
	return loader.Load(args[len(args)-1])
}
