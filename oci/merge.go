package oci

import (
	"cmp"

	"github.com/lkx-os/lkx/manifest"
)

// Merge lays the settings of a manifest over those of an image's label: what
// the manifest gives replaces what the label gives, except that
// capabilities.add and binds.add of both are added.
func Merge(label, own manifest.Config) manifest.Config {
	return manifest.Config{
		Capabilities:      added(list(own.Capabilities, label.Capabilities), label.CapabilitiesAdd, own.CapabilitiesAdd),
		Ambient:           list(own.Ambient, label.Ambient),
		Mounts:            list(own.Mounts, label.Mounts),
		Binds:             added(list(own.Binds, label.Binds), label.BindsAdd, own.BindsAdd),
		Tmpfs:             list(own.Tmpfs, label.Tmpfs),
		Devices:           list(own.Devices, label.Devices),
		Command:           list(own.Command, label.Command),
		Env:               list(own.Env, label.Env),
		Cwd:               cmp.Or(own.Cwd, label.Cwd),
		Net:               cmp.Or(own.Net, label.Net),
		Pid:               cmp.Or(own.Pid, label.Pid),
		Ipc:               cmp.Or(own.Ipc, label.Ipc),
		Uts:               cmp.Or(own.Uts, label.Uts),
		Userns:            cmp.Or(own.Userns, label.Userns),
		Cgroupns:          cmp.Or(own.Cgroupns, label.Cgroupns),
		Hostname:          cmp.Or(own.Hostname, label.Hostname),
		Readonly:          cmp.Or(own.Readonly, label.Readonly),
		MaskedPaths:       list(own.MaskedPaths, label.MaskedPaths),
		ReadonlyPaths:     list(own.ReadonlyPaths, label.ReadonlyPaths),
		UID:               cmp.Or(own.UID, label.UID),
		GID:               cmp.Or(own.GID, label.GID),
		AdditionalGids:    list(own.AdditionalGids, label.AdditionalGids),
		NoNewPrivileges:   cmp.Or(own.NoNewPrivileges, label.NoNewPrivileges),
		Seccomp:           cmp.Or(own.Seccomp, label.Seccomp),
		OOMScoreAdj:       cmp.Or(own.OOMScoreAdj, label.OOMScoreAdj),
		RootfsPropagation: cmp.Or(own.RootfsPropagation, label.RootfsPropagation),
		CgroupsPath:       cmp.Or(own.CgroupsPath, label.CgroupsPath),
		Resources:         cmp.Or(own.Resources, label.Resources),
		Sysctl:            table(own.Sysctl, label.Sysctl),
		Annotations:       table(own.Annotations, label.Annotations),
		Rlimits:           list(own.Rlimits, label.Rlimits),
		UIDMappings:       list(own.UIDMappings, label.UIDMappings),
		GIDMappings:       list(own.GIDMappings, label.GIDMappings),
		Restart:           cmp.Or(own.Restart, label.Restart),
		Healthcheck:       cmp.Or(own.Healthcheck, label.Healthcheck),
		Runtime:           mergeRuntime(label.Runtime, own.Runtime),
	}
}

// mergeRuntime replaces field by field.
func mergeRuntime(label, own *manifest.Runtime) *manifest.Runtime {
	if label == nil || own == nil {
		return cmp.Or(own, label)
	}
	return &manifest.Runtime{
		Cgroups:    list(own.Cgroups, label.Cgroups),
		Mounts:     list(own.Mounts, label.Mounts),
		Mkdir:      list(own.Mkdir, label.Mkdir),
		Interfaces: list(own.Interfaces, label.Interfaces),
		BindNS: manifest.BindNS{
			Cgroup: cmp.Or(own.BindNS.Cgroup, label.BindNS.Cgroup),
			Ipc:    cmp.Or(own.BindNS.Ipc, label.BindNS.Ipc),
			Mnt:    cmp.Or(own.BindNS.Mnt, label.BindNS.Mnt),
			Net:    cmp.Or(own.BindNS.Net, label.BindNS.Net),
			Pid:    cmp.Or(own.BindNS.Pid, label.BindNS.Pid),
			User:   cmp.Or(own.BindNS.User, label.BindNS.User),
			Uts:    cmp.Or(own.BindNS.Uts, label.BindNS.Uts),
		},
		Namespace: cmp.Or(own.Namespace, label.Namespace),
	}
}

// list is own if it was given, even empty, else label.
func list[T any](own, label []T) []T {
	if own != nil {
		return own
	}
	return label
}

func table(own, label map[string]string) map[string]string {
	if own != nil {
		return own
	}
	return label
}

// added is base with all of more after it; nil if there is nothing at all.
func added(base []string, more ...[]string) []string {
	var out []string
	if base != nil {
		out = append([]string{}, base...)
	}
	for _, m := range more {
		out = append(out, m...)
	}
	return out
}
