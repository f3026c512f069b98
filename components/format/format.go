package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lkx-os/lkx/components/internal/disk"
	"github.com/lkx-os/lkx/components/internal/tool"
)

// mkfs makes a file system of a type on a device, whatever was there.
var mkfs = map[string]func(label, path string) (string, []string){
	"ext4": func(label, path string) (string, []string) {
		return "/sbin/mke2fs", []string{"-q", "-F", "-t", "ext4", "-L", label, path}
	},
	"xfs": func(label, path string) (string, []string) {
		return "/sbin/mkfs.xfs", []string{"-q", "-f", "-L", label, path}
	},
}

// format makes partition and file system.
func (t target) format(o options) error {
	// The boot disk may be in use: the root can be on it.
	if err := t.Free(); err != nil && t.how != behind {
		return fmt.Errorf("%s cannot be formatted: %w", t.Path, err)
	}
	on := t.Device
	if t.how != bare {
		var err error
		if on, err = t.partition(o.label); err != nil {
			return fmt.Errorf("partitioning %s: %w", t.Path, err)
		}
	}
	program, args := mkfs[o.fsType](o.label, on.Path)
	if _, err := tool.Run("", program, args...); err != nil {
		return fmt.Errorf("formatting %s: %w", on.Path, err)
	}
	fmt.Printf("format: %s, %s: made %s, LABEL=%s\n", on.Path, disk.Bytes(on.Size), o.fsType, o.label)
	return nil
}

// partition makes a partition, which is named as the file system will be, and
// waits until it is there.
func (t target) partition(label string) (disk.Device, error) {
	script := fmt.Sprintf("type=L, name=%q\n", label)
	args := []string{"--quiet", "--wipe-partitions", "always"}
	if t.how == behind {
		args = append(args, "--append", "--no-reread")
	} else {
		args = append(args, "--wipe", "always")
		script = "label: gpt\n" + script
	}
	var before []disk.Device // that stay
	if t.how == behind {
		var err error
		if before, err = t.partitions(); err != nil {
			return disk.Device{}, err
		}
	}
	if _, err := tool.Run(script, "/sbin/sfdisk", append(args, t.Path)...); err != nil {
		return disk.Device{}, err
	}
	for range 100 {
		now, err := t.partitions()
		if err != nil {
			return disk.Device{}, err
		}
		for _, p := range now {
			known := slices.ContainsFunc(before, func(b disk.Device) bool { return b.Name == p.Name })
			if !known && p.Free() == nil {
				return p, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return disk.Device{}, errors.New("the kernel does not show the new partition")
}

func (t target) partitions() ([]disk.Device, error) {
	all, err := disk.List()
	var out []disk.Device
	for _, d := range all {
		if d.Partition && d.Disk == t.Name {
			out = append(out, d)
		}
	}
	return out, err
}
