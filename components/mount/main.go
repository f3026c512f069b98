// Command mount mounts a file system of a disk, for all containers:
//
//	mount [flags] [DEVICE] DIRECTORY
//
// DEVICE is LABEL=…, UUID=…, /dev/NAME and so on; without it, the first file
// system for data that is not mounted.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lkx-os/lkx/components/internal/disk"
	"github.com/lkx-os/lkx/components/internal/mnt"
	"github.com/lkx-os/lkx/components/internal/tool"
)

// options are the command line.
type options struct {
	device  string // "" for the first that there is
	dir     string
	fsType  string // "" for what is found
	options string // of mount(8), with commas
	check   bool
	owner   *owner // nil leaves DIRECTORY whose it is
	timeout time.Duration
}

// owner is whom a directory belongs to.
type owner struct{ uid, gid int }

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mount:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("mount", flag.ContinueOnError)
	set := func(prefix string) func(string) error {
		return func(value string) error {
			if o.device != "" {
				return fmt.Errorf("the device is %s already", o.device)
			}
			o.device = prefix + value
			return nil
		}
	}
	f.Func("label", "`LABEL` of the file system", set("LABEL="))
	f.Func("uuid", "`UUID` of the file system", set("UUID="))
	f.Func("device", "`DEVICE`", set(""))
	f.StringVar(&o.fsType, "type", "", "its `type` (default: found out)")
	f.StringVar(&o.options, "options", "", "mount `options`, with commas between")
	f.BoolVar(&o.check, "fsck", true, "check ext4 first, and repair what is safe to repair")
	f.Func("owner", "whom DIRECTORY belongs to, as `UID:GID`", func(value string) error {
		var u, g uint32
		var rest string
		if n, _ := fmt.Sscanf(value, "%d:%d%s", &u, &g, &rest); n != 2 {
			return errors.New("want two numbers, such as 999:999")
		}
		o.owner = &owner{int(u), int(g)}
		return nil
	})
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long the device is waited for")
	f.BoolVar(&tool.Verbose, "verbose", false, "show what is run")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	rest := f.Args()
	if len(rest) == 2 && o.device == "" {
		o.device, rest = rest[0], rest[1:]
	}
	if len(rest) != 1 || !filepath.IsAbs(rest[0]) {
		return o, fmt.Errorf("want [DEVICE] DIRECTORY, where DIRECTORY begins with /; got %q", f.Args())
	}
	o.dir = filepath.Clean(rest[0])
	if o.device != "" {
		return o, disk.CheckSpec(o.device)
	}
	return o, nil
}

func run(o options) error {
	if err := shared(o.dir); err != nil {
		return err
	}
	f, err := find(o)
	if err != nil {
		return err
	}
	fsType := o.fsType
	if fsType == "" {
		fsType = f.Type
	}
	if fsType == "" {
		return fmt.Errorf("no file system is known on %s", f)
	}
	if o.check && strings.HasPrefix(fsType, "ext") && !f.ReadOnly {
		if err := check(f.Path); err != nil {
			return err
		}
	}
	var list []string
	if o.options != "" {
		list = strings.Split(o.options, ",")
	}
	if f.ReadOnly {
		list = append(list, "ro")
	}
	if err := (mnt.Mount{Source: f.Path, Destination: o.dir, Type: fsType, Options: list}).Do(); err != nil {
		return fmt.Errorf("%w; it is %s", err, f)
	}
	if o.owner != nil {
		if err := os.Chown(o.dir, o.owner.uid, o.owner.gid); err != nil {
			return err
		}
	}
	fmt.Printf("mount: %s is on %s\n", f, o.dir)
	return nil
}

// data are the file systems that are taken without being named.
var data = []string{"ext4", "ext3", "ext2", "xfs", "btrfs"}

// find waits for the device.
func find(o options) (disk.Found, error) {
	if o.device != "" {
		return disk.Find(o.device, o.timeout)
	}
	f, all, ok, err := disk.Wait(o.timeout, func(all []disk.Found) (disk.Found, bool) {
		for _, f := range all {
			if slices.Contains(data, f.Type) && f.Free() == nil {
				return f, true
			}
		}
		return disk.Found{}, false
	})
	if err == nil && !ok {
		err = fmt.Errorf("no file system for data (%s) that is not in use; %s", strings.Join(data, ", "), disk.There(all))
	}
	return f, err
}

// check has e2fsck repair what can be repaired without asking. Statuses are of
// e2fsck(8): 1 and 2 are repaired, of 4 and more people have to know.
func check(path string) error {
	status, err := tool.Run("", "/sbin/e2fsck", "-p", path)
	switch status {
	case 0:
		return nil
	case 1, 2:
		fmt.Printf("mount: %s had faults, which are repaired\n", path)
		return nil
	}
	return fmt.Errorf("%s is not mounted, as its file system has faults that need a decision (-fsck=false mounts it anyway): %w", path, err)
}
