package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Content is what blkid(8) knows of a device: what its superblock says, and its
// entry in a partition table. What is missing is "".
type Content struct {
	Type              string // "ext4", "vfat", "swap", "crypto_LUKS"; "" for nothing that blkid knows
	Label, UUID       string
	Table             string // of partitions: "gpt", "dos"
	PartLabel, PartID string // of the partition's entry
	Ambiguous         bool   // more than one thing may be on it
	Written           bool   // blkid knows nothing of it, but its first MiB is not all 0
	Broken            error  // it cannot be read
}

// Nothing tells that blkid knows nothing of the device, which can be read.
func (c Content) Nothing() bool {
	return c.Type == "" && c.Table == "" && !c.Ambiguous && c.Broken == nil
}

// Blkid is the program that looks at devices.
var Blkid = "/sbin/blkid"

// Exit statuses of blkid -p (blkid(8), "EXIT STATUS").
const (
	nothing   = 2
	ambiguous = 8
)

// Look is what is on the device at path. That it cannot be read is part of it.
func Look(path string) (Content, error) {
	// To blkid a device that cannot be read is one with nothing on it.
	written, err := written(path)
	if err != nil {
		return Content{Broken: err}, nil
	}
	out, err := exec.Command(Blkid, "-p", "-o", "export", path).Output()
	c := parse(string(out))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case nothing:
			c.Written = written
			return c, nil
		case ambiguous:
			c.Ambiguous = true
			return c, nil
		}
		return c, fmt.Errorf("looking at %s: blkid: %w: %s", path, err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return c, fmt.Errorf("looking at %s: %w", path, err)
	}
	return c, nil
}

// written tells whether the first MiB has anything but 0.
func written(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return len(bytes.Trim(head, "\x00")) > 0, err
}

// parse reads lines of "KEY=value", where a backslash is before what a shell
// would read otherwise.
func parse(text string) Content {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		var plain strings.Builder
		for i := 0; i < len(v); i++ {
			if v[i] == '\\' && i+1 < len(v) {
				i++
			}
			plain.WriteByte(v[i])
		}
		values[k] = plain.String()
	}
	return Content{
		Type: values["TYPE"], Label: values["LABEL"], UUID: values["UUID"], Table: values["PTTYPE"],
		PartLabel: values["PART_ENTRY_NAME"], PartID: values["PART_ENTRY_UUID"],
	}
}

// Found is a device with what is on it.
type Found struct {
	Device
	Content
}

// Empty tells that the device can be taken for something new. What blkid does
// not know is data, too, but on a mapping: what has never been written on an
// encrypted disk looks like noise.
func (f Found) Empty() bool { return f.Nothing() && !(f.Written && f.Hardware) }

// String is one line for people.
func (f Found) String() string {
	var what []string
	add := func(format, value string) {
		if value != "" {
			what = append(what, fmt.Sprintf(format, value))
		}
	}
	add("partition table %s", f.Table)
	add("%s", f.Type)
	add("LABEL=%s", f.Label)
	add("UUID=%s", f.UUID)
	add("PARTLABEL=%s", f.PartLabel)
	if f.Ambiguous {
		what = append(what, "remains of several things")
	}
	if f.Written {
		what = append(what, "data of an unknown kind")
	}
	if f.Broken != nil {
		what = append(what, f.Broken.Error())
	}
	if len(what) == 0 {
		what = append(what, "empty")
	}
	add("SERIAL=%s", f.Serial)
	if f.ReadOnly {
		what = append(what, "read-only")
	}
	return fmt.Sprintf("%s, %s: %s", f.Path, Bytes(f.Size), strings.Join(what, ", "))
}

// Scan looks at all devices.
func Scan() ([]Found, error) {
	devices, err := List()
	if err != nil {
		return nil, err
	}
	out := make([]Found, 0, len(devices))
	for _, d := range devices {
		c, err := Look(d.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, Found{d, c})
	}
	return out, nil
}

// There lists devices for an error: "there are:", and a line for each.
func There(all []Found) string {
	if len(all) == 0 {
		return "there are no block devices at all"
	}
	var b strings.Builder
	b.WriteString("there are:")
	for _, f := range all {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

// LUKS is the type of an encrypted device.
const LUKS = "crypto_LUKS"

// Named tells whether the label is that of a file system, or swap, on f. That of
// LUKS is not: what is inside may have the same.
func (f Found) Named(label string) bool { return f.Label == label && f.Type != LUKS }

// Matches tells whether spec means f: "LABEL=…", "UUID=…", "PARTLABEL=…",
// "PARTUUID=…", "SERIAL=…" (the whole disk), or a path in /dev.
func (f Found) Matches(spec string) bool {
	key, value, ok := strings.Cut(spec, "=")
	switch {
	case !ok:
		return f.Is(spec)
	case key == "LABEL":
		return f.Named(value)
	case key == "UUID":
		return strings.EqualFold(f.UUID, value)
	case key == "PARTLABEL":
		return f.PartLabel == value
	case key == "PARTUUID":
		return strings.EqualFold(f.PartID, value)
	case key == "SERIAL":
		return f.Serial == value && !f.Partition
	}
	return false
}

// CheckSpec is the error for what cannot be a device's name.
func CheckSpec(spec string) error {
	key, value, ok := strings.Cut(spec, "=")
	switch {
	case !ok && strings.HasPrefix(spec, "/dev/"):
		return nil
	case ok && value != "" && strings.Contains(" LABEL UUID PARTLABEL PARTUUID SERIAL ", " "+key+" "):
		return nil
	}
	return fmt.Errorf("%q is none of /dev/NAME, LABEL=, UUID=, PARTLABEL=, PARTUUID= and SERIAL=", spec)
}

// Wait scans until pick takes a device, up to timeout; at least once. It gives
// what was scanned last, and false if nothing was taken.
func Wait(timeout time.Duration, pick func([]Found) (Found, bool)) (Found, []Found, bool, error) {
	for end := time.Now().Add(timeout); ; {
		all, err := Scan()
		if err != nil {
			return Found{}, nil, false, err
		}
		if f, ok := pick(all); ok || time.Now().After(end) {
			return f, all, ok, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// Find waits for the device that spec means. A partition or mapping is taken
// before the disk it is on, where both show the same; two that have nothing to
// do with each other are an error.
func Find(spec string, timeout time.Duration) (Found, error) {
	if err := CheckSpec(spec); err != nil {
		return Found{}, err
	}
	_, all, ok, err := Wait(timeout, func(all []Found) (Found, bool) {
		for _, f := range all {
			if f.Matches(spec) {
				return f, true
			}
		}
		return Found{}, false
	})
	if err != nil {
		return Found{}, err
	}
	if !ok {
		return Found{}, fmt.Errorf("no %s after %s; %s", spec, timeout, There(all))
	}
	return one(spec, all)
}

// one is the device that spec means.
func one(spec string, all []Found) (Found, error) {
	var found []Found
	for _, f := range all {
		if !f.Matches(spec) {
			continue
		}
		// The partition comes after its disk.
		if n := len(found); n > 0 && f.Partition && found[n-1].Name == f.Disk {
			found = found[:n-1]
		}
		found = append(found, f)
	}
	if len(found) > 1 {
		return Found{}, fmt.Errorf("%s is not one device alone; %s", spec, There(found))
	}
	return found[0], nil
}

// FirstEmpty is the first disk of the machine with nothing on it that can be
// had; if there is none, why each is not.
func FirstEmpty(all []Found) (Found, error) {
	divided := map[string]bool{}
	for _, f := range all {
		divided[f.Disk] = divided[f.Disk] || f.Partition
	}
	var why strings.Builder
	for _, f := range all {
		if f.Partition || !f.Hardware {
			continue
		}
		reason := "not empty"
		switch err := f.Free(); {
		case f.CD:
			reason = "a CD drive"
		case f.ReadOnly:
			reason = "read-only"
		case err != nil:
			reason = err.Error()
		case f.Empty() && !divided[f.Name]:
			return f, nil
		}
		fmt.Fprintf(&why, "\n  %s: %s", reason, f)
	}
	if why.Len() == 0 {
		return Found{}, errors.New("no empty disk; there is no disk at all")
	}
	return Found{}, fmt.Errorf("no empty disk; there are:%s", why.String())
}
