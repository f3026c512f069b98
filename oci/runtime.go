package oci

import (
	"fmt"
	"time"

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

	// What LinuxKit's tool does not know, written only where it is given.
	Restart     string       `json:"restart,omitempty"`
	After       []string     `json:"after,omitempty"` // names of services
	Healthcheck *Healthcheck `json:"healthcheck,omitempty"`
}

// Healthcheck tells whether a service works; times are Go durations.
type Healthcheck struct {
	Exec        []string `json:"exec,omitempty"`
	TCP         string   `json:"tcp,omitempty"`  // "PORT" or "HOST:PORT"
	HTTP        string   `json:"http,omitempty"` // URL
	Interval    string   `json:"interval,omitempty"`
	Timeout     string   `json:"timeout,omitempty"`
	Retries     uint32   `json:"retries,omitempty"`
	StartPeriod string   `json:"startPeriod,omitempty"`
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

func newRuntime(c manifest.Config, volumes map[string]Volume) (Runtime, error) {
	out := Runtime{
		Cgroups: []string{}, Mounts: []specs.Mount{}, Mkdir: []string{}, Interfaces: []Interface{},
		Restart: c.Restart, Healthcheck: health(c.Healthcheck),
	}
	r := c.Runtime
	if r == nil {
		return out, nil
	}
	out.Cgroups = append(out.Cgroups, r.Cgroups...)
	out.Mkdir = append(out.Mkdir, r.Mkdir...)
	for i, in := range r.Mounts {
		m, err := fromVolume(mount(in), volumes)
		if err != nil {
			return out, fieldError(fmt.Sprintf("runtime.mounts[%d]", i), err)
		}
		out.Mounts = append(out.Mounts, m)
	}
	for _, i := range r.Interfaces {
		out.Interfaces = append(out.Interfaces, Interface(i))
	}
	out.BindNS = BindNS(r.BindNS)
	out.Namespace = r.Namespace
	return out, nil
}

func health(h *manifest.Healthcheck) *Healthcheck {
	if h == nil {
		return nil
	}
	text := func(d manifest.Duration) string {
		if d == 0 {
			return ""
		}
		return time.Duration(d).String()
	}
	return &Healthcheck{
		Exec: h.Exec, TCP: h.TCP, HTTP: h.HTTP, Retries: h.Retries,
		Interval: text(h.Interval), Timeout: text(h.Timeout), StartPeriod: text(h.StartPeriod),
	}
}
