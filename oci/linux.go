package oci

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// cgroups is where the system has its cgroups.
const cgroups = "/sys/fs/cgroup"

// linux is the part of the specification that only Linux has (config-linux.md).
func linux(c manifest.Config) *specs.Linux {
	devices, rules := devices(c.Devices)
	res := resources(c.Resources)
	res.Devices = append(res.Devices, rules...)
	return &specs.Linux{
		UIDMappings:       idMappings(c.UIDMappings),
		GIDMappings:       idMappings(c.GIDMappings),
		Sysctl:            c.Sysctl,
		Resources:         res,
		CgroupsPath:       c.CgroupsPath,
		Namespaces:        namespaces(c),
		Devices:           devices,
		RootfsPropagation: c.RootfsPropagation,
		MaskedPaths:       c.MaskedPaths,
		ReadonlyPaths:     c.ReadonlyPaths,
	}
}

// namespaces are the container's own: always a mount namespace, a pid and a
// cgroup namespace unless they are refused, the others where they are asked for.
func namespaces(c manifest.Config) []specs.LinuxNamespace {
	out := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	add := func(typ specs.LinuxNamespaceType, value string) {
		switch value {
		case "", "host", "root":
		case "new":
			out = append(out, specs.LinuxNamespace{Type: typ})
		default:
			out = append(out, specs.LinuxNamespace{Type: typ, Path: value})
		}
	}
	net, pid, cgroup := c.Net, c.Pid, c.Cgroupns
	if net == "none" {
		net = "new"
	}
	if pid == "" {
		pid = "new"
	}
	if cgroup == "" && !managesCgroups(c) {
		cgroup = "new"
	}
	add(specs.NetworkNamespace, net)
	add(specs.PIDNamespace, pid)
	add(specs.IPCNamespace, c.Ipc)
	add(specs.UTSNamespace, c.Uts)
	add(specs.UserNamespace, c.Userns)
	add(specs.CgroupNamespace, cgroup)
	return out
}

// managesCgroups tells whether the container may be there to change the cgroups
// of others, which it has to see by their own names then.
func managesCgroups(c manifest.Config) bool {
	if slices.Contains(capabilities(c).Bounding, "CAP_SYS_ADMIN") {
		return true
	}
	covers := func(source string) bool {
		return path.IsAbs(source) && strings.HasPrefix(cgroups+"/", strings.TrimSuffix(path.Clean(source), "/")+"/") ||
			strings.HasPrefix(source, cgroups+"/")
	}
	for _, s := range c.Binds {
		if source, _, _ := strings.Cut(s, ":"); covers(source) {
			return true
		}
	}
	return slices.ContainsFunc(c.Mounts, func(m manifest.Mount) bool { return m.IsBind() && covers(m.Source) })
}

// devices are the nodes a container gets, and the cgroup rules that allow them.
// Path "all" is a rule for every device of its type, without a node.
func devices(list []manifest.Device) ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup) {
	var nodes []specs.LinuxDevice
	var rules []specs.LinuxDeviceCgroup
	for _, d := range list {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Access: "rwm"}
		if d.Path != "all" {
			rule.Major, rule.Minor = &d.Major, &d.Minor
			mode := os.FileMode(*d.Mode)
			nodes = append(nodes, specs.LinuxDevice{Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, FileMode: &mode})
		}
		rules = append(rules, rule)
	}
	return nodes, rules
}

func resources(r *manifest.Resources) *specs.LinuxResources {
	out := &specs.LinuxResources{}
	if r == nil {
		return out
	}
	for _, d := range r.Devices {
		out.Devices = append(out.Devices, specs.LinuxDeviceCgroup{Allow: d.Allow, Type: d.Type, Major: d.Major, Minor: d.Minor, Access: d.Access})
	}
	if m := r.Memory; m != nil {
		out.Memory = &specs.LinuxMemory{
			Limit: m.Limit, Reservation: m.Reservation, Swap: m.Swap, KernelTCP: m.KernelTCP,
			//lint:ignore SA1019 manifests may set it: kernels with cgroup v1 still read it
			Kernel:     m.Kernel,
			Swappiness: m.Swappiness, DisableOOMKiller: m.DisableOOMKiller,
		}
	}
	if c := r.CPU; c != nil {
		out.CPU = &specs.LinuxCPU{
			Shares: c.Shares, Quota: c.Quota, Period: c.Period, RealtimeRuntime: c.RealtimeRuntime,
			RealtimePeriod: c.RealtimePeriod, Cpus: c.Cpus, Mems: c.Mems,
		}
	}
	if r.Pids != nil {
		out.Pids = &specs.LinuxPids{Limit: r.Pids.Limit}
	}
	for _, h := range r.HugepageLimits {
		out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
	}
	if n := r.Network; n != nil {
		out.Network = &specs.LinuxNetwork{ClassID: n.ClassID}
		for _, p := range n.Priorities {
			out.Network.Priorities = append(out.Network.Priorities, specs.LinuxInterfacePriority{Name: p.Name, Priority: p.Priority})
		}
	}
	out.BlockIO = blockIO(r.BlockIO)
	out.Unified = r.Unified
	return out
}

func blockIO(b *manifest.BlockIO) *specs.LinuxBlockIO {
	if b == nil {
		return nil
	}
	out := &specs.LinuxBlockIO{Weight: b.Weight, LeafWeight: b.LeafWeight}
	for _, d := range b.WeightDevice {
		w := specs.LinuxWeightDevice{Weight: d.Weight, LeafWeight: d.LeafWeight}
		w.Major, w.Minor = d.Major, d.Minor
		out.WeightDevice = append(out.WeightDevice, w)
	}
	throttle := func(list []manifest.ThrottleDevice) []specs.LinuxThrottleDevice {
		var to []specs.LinuxThrottleDevice
		for _, d := range list {
			t := specs.LinuxThrottleDevice{Rate: d.Rate}
			t.Major, t.Minor = d.Major, d.Minor
			to = append(to, t)
		}
		return to
	}
	out.ThrottleReadBpsDevice = throttle(b.ThrottleReadBpsDevice)
	out.ThrottleWriteBpsDevice = throttle(b.ThrottleWriteBpsDevice)
	out.ThrottleReadIOPSDevice = throttle(b.ThrottleReadIOPSDevice)
	out.ThrottleWriteIOPSDevice = throttle(b.ThrottleWriteIOPSDevice)
	return out
}
