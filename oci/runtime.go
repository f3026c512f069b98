package oci

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// Runtime is runtime.json: what the init does around a container. Every key is
// always written, as LinuxKit's tool does.
type Runtime struct {
	Cgroups    []string      `json:"cgroups"`
	Mounts     []specs.Mount `json:"mounts"`
	Mkdir      []string      `json:"mkdir"`
	Interfaces []Interface   `json:"interfaces"`
	BindNS     BindNS        `json:"bindNS"`
	Namespace  string        `json:"namespace"`
}

// Interface is a network interface moved or made for a container.
type Interface struct {
	Name         string `json:"name,omitempty"`
	Add          string `json:"add,omitempty"`
	Peer         string `json:"peer,omitempty"`
	CreateInRoot bool   `json:"createInRoot"`
}

// BindNS holds, by namespace, the path it is bound to; "" for none.
type BindNS struct {
	Cgroup string `json:"cgroup"`
	Ipc    string `json:"ipc"`
	Mnt    string `json:"mnt"`
	Net    string `json:"net"`
	Pid    string `json:"pid"`
	User   string `json:"user"`
	Uts    string `json:"uts"`
}

func newRuntime(r *manifest.Runtime) Runtime {
	out := Runtime{Cgroups: []string{}, Mounts: []specs.Mount{}, Mkdir: []string{}, Interfaces: []Interface{}}
	if r == nil {
		return out
	}
	out.Cgroups = append(out.Cgroups, r.Cgroups...)
	out.Mkdir = append(out.Mkdir, r.Mkdir...)
	for _, m := range r.Mounts {
		out.Mounts = append(out.Mounts, mount(m))
	}
	for _, i := range r.Interfaces {
		out.Interfaces = append(out.Interfaces, Interface(i))
	}
	out.BindNS = BindNS(r.BindNS)
	out.Namespace = r.Namespace
	return out
}
