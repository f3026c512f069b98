package main

import (
	"fmt"

	"github.com/lkx-os/lkx/components/internal/disk"
)

// target is what is going to be formatted.
type target struct {
	disk.Found
	how  how
	done bool // there is nothing to do, and that has been said
}

type how int

const (
	bare   how = iota // a file system on the device as it is
	whole             // a partition table with one partition, and that
	behind            // one more partition, in the free space
)

// choose finds the target, or says why there is none.
func choose(o options) (target, error) {
	if o.device != "" {
		return chooseNamed(o)
	}
	all, err := disk.Scan()
	if err != nil {
		return target{}, err
	}
	for _, f := range all {
		if f.Named(o.label) && f.Hardware && !f.CD {
			if o.force {
				return target{Found: f, how: bare}, nil
			}
			return leave(f)
		}
	}
	// A boot before this one was cut off between partition and file system.
	for _, f := range all {
		if f.Partition && f.PartLabel == o.label && f.Nothing() && f.Free() == nil {
			return target{Found: f, how: bare}, nil
		}
	}
	if o.free {
		f, err := bootDisk(all)
		return target{Found: f, how: behind}, err
	}
	f, err := disk.FirstEmpty(all)
	return target{Found: f, how: whole}, err
}

func leave(f disk.Found) (target, error) {
	fmt.Printf("format: %s; it has its file system, and is left alone\n", f)
	return target{Found: f, done: true}, nil
}

// chooseNamed looks at the device that was asked for.
func chooseNamed(o options) (target, error) {
	f, err := disk.Find(o.device, o.timeout)
	if err != nil {
		return target{}, err
	}
	all, err := disk.Scan()
	if err != nil {
		return target{}, err
	}
	t := target{Found: f, how: whole}
	if f.Partition || !f.Hardware {
		t.how = bare
	}
	if o.force {
		return t, nil
	}
	for _, p := range all {
		if p.Name != f.Name && !(p.Partition && p.Disk == f.Name) {
			if p.Named(o.label) {
				return t, fmt.Errorf("%s is to have LABEL=%s, which there is already: %s", f.Path, o.label, p)
			}
			continue
		}
		if _, ours := maxLabel[p.Type]; ours && (p.Label == o.label || !o.named) {
			return leave(p)
		}
		if p.Partition && t.how == whole && p.PartLabel == o.label && p.Nothing() {
			return target{Found: p, how: bare}, nil // cut off before
		}
	}
	if !f.Empty() {
		return t, fmt.Errorf("%s is not empty, and left alone; -force would make it anew. %s", f.Path, disk.There(all))
	}
	return t, nil
}

// bootDisk is the disk that lkx made the boot partition of.
func bootDisk(all []disk.Found) (disk.Found, error) {
	for _, f := range all {
		if !f.Partition || f.PartLabel != "boot" || f.Label != "LKX" {
			continue
		}
		for _, d := range all {
			if d.Name == f.Disk && !d.ReadOnly {
				return d, nil
			}
		}
	}
	return disk.Found{}, fmt.Errorf("-free: no disk with a boot partition of lkx that can be written; %s", disk.There(all))
}
