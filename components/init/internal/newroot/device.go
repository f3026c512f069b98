package newroot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lkx-os/lkx/components/init/internal/probe"
)

// Device is a block device and what was found on it.
type Device struct {
	Path     string // "/dev/vda1"
	Disk     string // name of the disk that it is, or is a part of: "vda"
	Part     int    // number of the partition; 0 for a disk
	Off      int64  // where a partition of a CD, which has no device of its own, begins in Path; in bytes
	Size     int64  // bytes
	FS       probe.FileSystem
	PartUUID string // of a partition, where there is one
	Err      error  // why nothing was found; [probe.ErrUnknown] for a device that can be read

	parts []*Device // of a CD
}

// is tells whether d has the root file system w.
func (d *Device) is(w *Wanted) bool {
	if d.Err != nil && !(w.Type != "" && errors.Is(d.Err, probe.ErrUnknown)) {
		return false // there is nothing to mount
	}
	switch w.By {
	case byUUID:
		return strings.EqualFold(d.FS.UUID, w.Name)
	case byLabel:
		return d.FS.Label == w.Name
	case byPartition:
		return strings.EqualFold(d.PartUUID, w.Name)
	}
	return d.Path == w.Name && d.Off == 0
}

// String describes d in a line.
func (d *Device) String() string {
	out := d.Path
	if d.Off > 0 {
		out += fmt.Sprintf(", partition %d", d.Part)
	}
	out += fmt.Sprintf(", %d KiB: ", d.Size>>10)
	if d.Err != nil {
		out += d.Err.Error()
	} else {
		out += d.FS.Type
	}
	for _, id := range []struct{ by, name string }{
		{byUUID, d.FS.UUID}, {byLabel, d.FS.Label}, {byPartition, d.PartUUID},
	} {
		if id.name != "" {
			out += ", " + id.by + "=" + id.name
		}
	}
	return out
}

// system is where the kernel shows its devices: /sys and /dev.
type system struct{ sys, dev string }

// devices looks at all block devices, in the order of their names, and behind
// them at the partitions of CDs. It remembers in known what it found, for those
// that do not change.
func (s system) devices(known map[string]*Device) ([]*Device, error) {
	entries, err := os.ReadDir(filepath.Join(s.sys, "class/block"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("listing block devices: %w", err)
	}
	var out, onCDs []*Device
	for _, e := range entries {
		d, key, err := s.device(e.Name())
		if err != nil || d.Size == 0 {
			continue // it has gone, or is a drive or a loop with nothing in it
		}
		if known[key] != nil {
			d = known[key]
		} else if s.probe(d); d.Err == nil || errors.Is(d.Err, probe.ErrUnknown) {
			known[key] = d // others may be readable later
		}
		out, onCDs = append(out, d), append(onCDs, d.parts...)
	}
	return append(out, onCDs...), nil
}

// device reads what /sys says about a block device, and a key that another
// medium does not have.
func (s system) device(name string) (*Device, string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(s.sys, "class/block", name))
	if err != nil {
		return nil, "", err
	}
	event, err := os.ReadFile(filepath.Join(dir, "uevent"))
	if err != nil {
		return nil, "", err
	}
	d := &Device{Path: filepath.Join("/dev", name), Disk: name, Size: number(filepath.Join(dir, "size")) * 512}
	for line := range strings.Lines(string(event)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "DEVNAME":
			d.Path = filepath.Join("/dev", value)
		case "PARTN":
			d.Part, _ = strconv.Atoi(value) // the kernel's
			d.Disk = filepath.Base(filepath.Dir(dir))
		}
	}
	return d, fmt.Sprintf("%s %d %s", name, d.Size, event), nil
}

// number reads a file with a number; 0 for none.
func number(name string) int64 {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// probe reads the device.
func (s system) probe(d *Device) {
	f, err := os.Open(s.node(d.Path))
	if err != nil {
		d.Err = fmt.Errorf("cannot be opened: %w", errors.Unwrap(err))
		return
	}
	defer f.Close()
	d.FS, d.Err = probe.Read(f)
	if d.Err == nil && d.FS.Size > d.Size {
		d.Err = fmt.Errorf("ends before its file system, %s of %d KiB", d.FS.Type, d.FS.Size>>10)
	}
	if d.Part == 0 {
		d.parts = partsOfCD(d, f)
		return
	}
	dir := filepath.Join(s.sys, "class/block", d.Disk)
	disk, _, err := s.device(d.Disk)
	if err != nil {
		return // it has gone
	}
	whole, err := os.Open(s.node(disk.Path))
	if err != nil {
		return
	}
	defer whole.Close()
	sector := max(number(filepath.Join(dir, "queue/logical_block_size")), 512)
	d.PartUUID, _ = probe.PartitionUUID(whole, disk.Size, sector, d.Part) // "" is shown as it is
}

// partsOfCD are the partitions of d, if it is a CD that has some.
func partsOfCD(d *Device, f io.ReaderAt) []*Device {
	if d.FS.Type != "iso9660" {
		return nil
	}
	list, err := probe.Partitions(f)
	if err != nil {
		return nil // as most CDs
	}
	var out []*Device
	for _, p := range list {
		part := &Device{Path: d.Path, Disk: d.Disk, Part: p.Number, Off: p.Off, Size: p.Size, PartUUID: p.UUID}
		part.FS, part.Err = probe.Read(io.NewSectionReader(f, p.Off, p.Size))
		out = append(out, part)
	}
	return out
}

// node is where a device's node is.
func (s system) node(path string) string {
	return filepath.Join(s.dev, strings.TrimPrefix(path, "/dev"))
}

// choose is the device that w means, nil for none. A partition is preferred to
// its disk, which sees the same if the partition starts where the disk does: it
// leaves the disk's other partitions to be used. others are further disks that
// would do.
func choose(list []*Device, w *Wanted) (chosen *Device, others []*Device) {
	fits := slices.DeleteFunc(slices.Clone(list), func(d *Device) bool { return !d.is(w) })
	for _, d := range fits {
		switch {
		case chosen == nil || d.Disk == chosen.Disk && chosen.Part == 0:
			chosen = d
		case d.Disk != chosen.Disk:
			others = append(others, d)
		}
	}
	return chosen, others
}
