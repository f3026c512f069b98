// Package disk finds block devices, by what they are and by what is on them.
package disk

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Device is a block device that the kernel has: a disk, or a partition of one.
type Device struct {
	Name      string // in /sys/class/block: "vda1"
	Path      string // in /dev
	Disk      string // the disk that it is a partition of, "vda"; its own name for one that is none
	Number    string // "MAJOR:MINOR"
	Serial    string // of the disk; "" for none
	Size      int64  // bytes
	ReadOnly  bool
	CD        bool
	Hardware  bool // a machine's disk, or part of it, not one that the kernel makes of others
	Partition bool
}

// List is all devices that have a size, disks before their partitions.
func List() ([]Device, error) { return list("/sys/class/block") }

func list(sys string) ([]Device, error) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return nil, fmt.Errorf("looking for block devices: %w", err)
	}
	var out []Device
	for _, e := range entries {
		if d := read(sys, e.Name()); d.Size > 0 && !strings.HasPrefix(d.Name, "ram") {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Device) int { // vdb is before vdaa
		return cmp.Or(
			cmp.Compare(len(a.Disk), len(b.Disk)), cmp.Compare(a.Disk, b.Disk),
			cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// read is the device of a name; what the kernel does not say is empty.
func read(sys, name string) Device {
	dir := filepath.Join(sys, name)
	attribute := func(path string) string {
		text, _ := os.ReadFile(filepath.Join(dir, path))
		return strings.TrimSpace(string(text))
	}
	d := Device{Name: name, Path: "/dev/" + strings.ReplaceAll(name, "!", "/"), Disk: name, Number: attribute("dev")}
	sectors, _ := strconv.ParseInt(attribute("size"), 10, 64) // of 512 bytes, whatever the disk's are
	d.Size = sectors * 512
	d.ReadOnly = attribute("ro") == "1"
	if mapped := attribute("dm/name"); mapped != "" {
		d.Path = "/dev/mapper/" + mapped
	}
	if attribute("partition") != "" {
		d.Partition = true
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			d.Disk = filepath.Base(filepath.Dir(real))
		}
	}
	dir = filepath.Join(sys, d.Disk) // what follows is the disk's
	_, err := os.Stat(filepath.Join(dir, "device"))
	d.Hardware = err == nil
	d.CD = strings.HasPrefix(d.Disk, "sr")
	d.Serial = serial(attribute)
	return d
}

// serial is what a disk's driver says: virtio and NVMe in a file, SCSI in its
// page of vital product data (SPC-5, 7.7.16), behind 4 bytes of header.
func serial(attribute func(string) string) string {
	for _, path := range []string{"serial", "device/serial"} {
		if s := attribute(path); s != "" {
			return s
		}
	}
	if page := attribute("device/vpd_pg80"); len(page) > 4 {
		return strings.Trim(page[4:], " \x00")
	}
	return ""
}

// ErrInUse says that a device is mounted, swapped to, or part of another.
var ErrInUse = errors.New("in use")

// Free is nil for a device that nothing uses, or the reason it cannot be had.
func (d Device) Free() error {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// Is tells whether path is a node of this device.
func (d Device) Is(path string) bool {
	if path == d.Path {
		return true
	}
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFBLK {
		return false
	}
	return d.Number == fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev))
}

// Bytes is a size as people read it: "512 MiB", "1.5 GiB".
func Bytes(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	f := float64(n)
	for f >= 1024 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + " " + units[0]
}

// ParseSize reads bytes, or a number with one of K, M, G and T behind it.
func ParseSize(text string) (int64, error) {
	number := strings.TrimRight(text, "KMGT")
	shift := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
	unit, known := shift[text[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if !known || err != nil || n <= 0 || n > math.MaxInt64>>unit {
		return 0, fmt.Errorf("%q is no size such as 512M or 2G", text)
	}
	return n << unit, nil
}
