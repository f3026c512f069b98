package oci

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// Paths of every container that leak the system's memory, keys and hardware,
// or with which a root user without capabilities could take the system over.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// secure fills in what the settings leave open, where that cannot harm a
// container that LinuxKit runs: one with CAP_SYS_ADMIN may be there to change
// the system, and one with CAP_NET_ADMIN to change /proc/sys/net. One without
// any capability has nothing to gain from a set-uid program.
func secure(spec *specs.Spec, c manifest.Config) {
	caps := spec.Process.Capabilities.Bounding
	admin := slices.Contains(caps, "CAP_SYS_ADMIN")
	if c.MaskedPaths == nil && !admin {
		spec.Linux.MaskedPaths = outside(maskedPaths, c)
	}
	if c.ReadonlyPaths == nil && !admin && !slices.Contains(caps, "CAP_NET_ADMIN") {
		spec.Linux.ReadonlyPaths = outside(readonlyPaths, c)
	}
	if c.NoNewPrivileges == nil && len(caps) == 0 {
		spec.Process.NoNewPrivileges = true
	}
}

// outside is list without the paths below what the container mounts by itself:
// to cover a part of the host's /sys, bound into it, would cover it for the host.
func outside(list []string, c manifest.Config) []string {
	var own []string
	for _, s := range c.Binds {
		if parts := strings.SplitN(s, ":", 3); len(parts) > 1 {
			own = append(own, path.Clean(parts[1]))
		}
	}
	for _, m := range c.Mounts {
		own = append(own, path.Clean(mount(m).Destination))
	}
	return slices.DeleteFunc(slices.Clone(list), func(p string) bool {
		return slices.ContainsFunc(own, func(o string) bool {
			return o == "/" || p == o || strings.HasPrefix(p, o+"/")
		})
	})
}
