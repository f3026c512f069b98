package oci

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// mounts are a container's mounts in order of their destinations, so that a
// parent stands before what is mounted in it. For one destination, mounts
// override binds, these tmpfs, and these the defaults.
func mounts(c manifest.Config, volumes map[string]Volume) ([]specs.Mount, error) {
	at := map[string]specs.Mount{}
	put := func(m specs.Mount) {
		m.Destination = path.Clean(m.Destination)
		at[m.Destination] = m
	}
	for _, m := range defaultMounts(isTrue(c.Readonly)) {
		put(m)
	}
	if c.Userns == "new" && !slices.Contains([]string{"new", "none"}, c.Net) {
		put(hostSys())
	}
	for _, s := range c.Tmpfs {
		dst, opts, _ := strings.Cut(s, ":")
		put(specs.Mount{Destination: dst, Type: "tmpfs", Source: "tmpfs", Options: options(opts)})
	}
	for i, s := range c.Binds {
		m, err := bind(s)
		if err == nil {
			m, err = fromVolume(m, volumes)
		}
		if err != nil {
			return nil, fieldError(fmt.Sprintf("binds[%d]", i), err)
		}
		put(m)
	}
	for i, in := range c.Mounts {
		m, err := fromVolume(mount(in), volumes)
		if err != nil {
			return nil, fieldError(fmt.Sprintf("mounts[%d]", i), err)
		}
		put(m)
	}
	out := make([]specs.Mount, 0, len(at))
	for _, dst := range slices.Sorted(maps.Keys(at)) {
		out = append(out, at[dst])
	}
	return out, nil
}

// defaultMounts are what every container has, as LinuxKit defines it.
func defaultMounts(readonly bool) []specs.Mount {
	dev := []string{"nosuid", "strictatime", "mode=755", "size=65536k"}
	sys := []string{"nosuid", "noexec", "nodev"}
	if readonly {
		dev, sys = append(dev, "ro"), append(sys, "ro")
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec", "relatime"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: dev},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: sys},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
}

// hostSys is /sys of a container with a user namespace of its own, but without
// a network namespace: it may not mount one (sysfs shows a network namespace,
// and only who owns that may have it shown), and sees the system's.
func hostSys() specs.Mount {
	return specs.Mount{
		Destination: "/sys", Type: "bind", Source: "/sys",
		Options: []string{"rbind", "rslave", "nosuid", "noexec", "nodev", "ro"},
	}
}

// bind reads "source:destination[:option,…]".
func bind(s string) (specs.Mount, error) {
	parts := strings.SplitN(s, ":", 3)
	if len(parts) < 2 || !path.IsAbs(parts[1]) {
		return specs.Mount{}, fmt.Errorf("%q is not a bind", s)
	}
	opts := []string{"rw", "rbind", "rshared"}
	if len(parts) == 3 {
		opts = append(options(parts[2]), "rbind")
	}
	return specs.Mount{Destination: parts[1], Type: "bind", Source: parts[0], Options: opts}, nil
}

func fieldError(field string, err error) error {
	return &FieldError{Field: field, Msg: err.Error(), Hint: "only absolute paths and volumes can be bound; a read-only volume with option ro"}
}

// fromVolume gives a bind of a volume the volume's path.
func fromVolume(m specs.Mount, volumes map[string]Volume) (specs.Mount, error) {
	bound := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
	if !bound || path.IsAbs(m.Source) {
		return m, nil
	}
	v, ok := volumes[m.Source]
	switch {
	case !ok:
		return m, fmt.Errorf("%q is not an absolute path, and no volume is named so", m.Source)
	case v.Readonly && !slices.Contains(m.Options, "ro"):
		return m, fmt.Errorf("volume %q is read-only, and bound to be written", m.Source)
	}
	m.Source = v.Path
	return m, nil
}

func options(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// mount completes what a mount leaves out: its type by its source or
// destination, its source by its type, its destination by its type.
func mount(m manifest.Mount) specs.Mount {
	if m.Type == "" {
		switch m.Source {
		case "mqueue", "devpts", "proc", "sysfs", "cgroup":
			m.Type = m.Source
		}
		switch {
		case m.Type == "" && m.Destination == "/dev":
			m.Type = "tmpfs"
		case m.Type == "" && m.IsBind():
			m.Type = "bind"
		}
	}
	if m.Source == "" {
		m.Source = m.Type
	}
	if m.Destination == "" {
		m.Destination = manifest.MountDestination(m.Type)
	}
	return specs.Mount{
		Destination: m.Destination, Type: m.Type, Source: m.Source, Options: m.Options,
		UIDMappings: idMappings(m.UIDMappings), GIDMappings: idMappings(m.GIDMappings),
	}
}

func idMappings(list []manifest.IDMapping) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range list {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size})
	}
	return out
}
