// Command modprobe loads kernel modules, with what they need:
//
//	modprobe NAME [PARAMETER=VALUE…]
//	modprobe -a NAME…
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/cmdline"
	"github.com/lkx-os/lkx/components/internal/kmod"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "modprobe:", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	names, parameters, err := parse(words)
	if err != nil {
		return err
	}
	args, err := cmdline.Read()
	if err != nil {
		return err
	}
	index, err := kmod.Open(append(args, parameters...))
	if err != nil {
		return err
	}
	builtin, err := builtins()
	if err != nil {
		return err
	}
	loader := kmod.NewLoader(index)
	var errs []error
	for _, name := range names {
		if len(index.Find(name)) == 0 && !builtin[normal(name)] {
			errs = append(errs, fmt.Errorf("the kernel has no module %s", name))
			continue
		}
		errs = append(errs, loader.Load(name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("modprobe: %d modules loaded for %s\n", loader.Loaded(), strings.Join(names, ", "))
	return nil
}

// parse takes what follows the first name for its parameters, unless -a says
// that all are names. That it is told to be quiet, or to heed what is
// blacklisted, changes nothing.
func parse(words []string) (names []string, parameters cmdline.Args, err error) {
	all := false
	for _, w := range words {
		switch {
		case strings.HasPrefix(w, "-"):
			if strings.Trim(w[1:], "abqvs") != "" {
				return nil, nil, fmt.Errorf("unknown option %s", w)
			}
			all = all || strings.Contains(w, "a")
		case len(names) == 0 || all || !strings.Contains(w, "="):
			names = append(names, w)
		default:
			name, value, _ := strings.Cut(w, "=")
			parameters = append(parameters, cmdline.Arg{Name: names[0] + "." + name, Value: value})
		}
	}
	if len(names) == 0 {
		return nil, nil, errors.New("no module is named")
	}
	return names, parameters, nil
}

// builtins are the modules that are part of the kernel, by name.
func builtins() (map[string]bool, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("asking for the kernel's release: %w", err)
	}
	f, err := os.Open(filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]), "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("looking for modules: %w", err)
	}
	defer f.Close()
	out := map[string]bool{}
	s := bufio.NewScanner(f)
	for s.Scan() { // "kernel/fs/fuse/fuse.ko"
		out[normal(strings.TrimSuffix(filepath.Base(s.Text()), ".ko"))] = true
	}
	return out, s.Err()
}

// normal is a module's name with "_" for "-", which are one to the kernel.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }
