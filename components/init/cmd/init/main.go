// Command init is the first process of the system: it prepares the machine, has
// lkx-services run the containers, and takes the machine down again. Started as
// another process it is what the kernel, or a person, calls for a little help:
//
//	init modprobe NAME…    load modules by name or alias
//	init poweroff|reboot|halt
//
// and the same under names that link to it, such as /sbin/modprobe.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lkx-os/lkx/components/init/internal/power"
	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/kmod"
)

func main() {
	if os.Getpid() == 1 {
		run()
		return
	}
	if err := help(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "lkx:", err)
		os.Exit(1)
	}
}

// help does what the words of a command line ask for.
func help(words []string) error {
	name := filepath.Base(words[0])
	rest := words[1:]
	if name == "init" && len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	// The kernel asks for modules with "-q -- NAME", under whatever name.
	if name == "modprobe" || name == "-q" {
		return modprobe(rest)
	}
	known, err := power.Ask(name)
	if !known {
		return fmt.Errorf("%s is none of modprobe, poweroff, reboot, halt; the system is up and has its init already", name)
	}
	return err
}

func modprobe(names []string) error {
	args, _ := cmdline.Read() // without, modules have their defaults
	index, err := kmod.Open(args)
	if err != nil {
		return err
	}
	loader := kmod.NewLoader(index)
	var errs []error
	for _, name := range names {
		if !strings.HasPrefix(name, "-") {
			errs = append(errs, loader.Load(name))
		}
	}
	return errors.Join(errs...)
}
