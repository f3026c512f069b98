package manifest

import "time"

// Config is how a container runs: the keys an entry may have besides its name
// and image, and those an image may carry in its label `org.mobyproject.config`.
// A key that the manifest gives replaces the label's; those that end in `.add`
// are added to it.
type Config struct {
	// Capabilities by name (`CAP_NET_ADMIN`), or `[all]`; default none.
	Capabilities []string `yaml:"capabilities"`
	// Capabilities besides those of the image's label.
	CapabilitiesAdd []string `yaml:"capabilities.add"`
	// Ambient capabilities, which a program that is not root keeps.
	Ambient []string `yaml:"ambient"`
	// Mounts, as in the OCI runtime specification.
	Mounts []Mount `yaml:"mounts"`
	// Bind mounts, `SOURCE:DESTINATION[:OPTIONS]`; the source is an absolute path
	// or the name of a volume. Default options: `rw,rbind,rshared`.
	Binds []string `yaml:"binds"`
	// Bind mounts besides those of the image's label.
	BindsAdd []string `yaml:"binds.add"`
	// Memory file systems, `DESTINATION[:OPTIONS]`, such as `/run:size=1m`.
	Tmpfs []string `yaml:"tmpfs"`
	// Devices it can use; default none.
	Devices []Device `yaml:"devices"`
	// Program and arguments, instead of the image's entrypoint and command.
	Command []string `yaml:"command"`
	// Environment, `NAME=value`, instead of the image's.
	Env []string `yaml:"env"`
	// Working directory, instead of the image's.
	Cwd string `yaml:"cwd"`
	// Network namespace: `host` (or `root`, the default), `new` (or `none`), or a path.
	Net string `yaml:"net"`
	// Process namespace: `new` (the default), `host` (or `root`), or a path.
	Pid string `yaml:"pid"`
	// IPC namespace: `host` (or `root`, the default), `new`, or a path.
	Ipc string `yaml:"ipc"`
	// Host name namespace: `host` (or `root`, the default), `new`, or a path.
	Uts string `yaml:"uts"`
	// User namespace: `host` (or `root`, the default), `new`, or a path. Default
	// where ids are mapped: `new`. In one that is new, files of the image belong
	// to the ids that theirs are mapped to.
	Userns string `yaml:"userns"`
	// Cgroup namespace: `new`, `host` (or `root`), or a path; default `new`,
	// unless it has CAP_SYS_ADMIN or binds the system's cgroups.
	Cgroupns string `yaml:"cgroupns"`
	// Host name; it needs `uts: new`.
	Hostname string `yaml:"hostname"`
	// Its root file system cannot be written; default false: what it writes is
	// kept in memory.
	Readonly *bool `yaml:"readonly"`
	// Paths it cannot see into. Default: those under /proc and /sys that leak
	// or break the host, unless it has CAP_SYS_ADMIN.
	MaskedPaths []string `yaml:"maskedPaths"`
	// Paths it cannot write. Default: /proc/sys and the like, unless it has
	// CAP_SYS_ADMIN or CAP_NET_ADMIN.
	ReadonlyPaths []string `yaml:"readonlyPaths"`
	// User it runs as: a number, or the name of a container; default 0. The
	// image's USER is not heeded.
	UID *ID `yaml:"uid"`
	// Group it runs as; default 0.
	GID *ID `yaml:"gid"`
	// Further groups: numbers, or names of containers.
	AdditionalGids []ID `yaml:"additionalGids"`
	// Programs it starts cannot gain rights (set-uid, file capabilities). Default:
	// true for a container without capabilities.
	NoNewPrivileges *bool `yaml:"noNewPrivileges"`
	// Which system calls it can make: `default` is the list that container
	// engines use, `unconfined` (the default) is all.
	Seccomp string `yaml:"seccomp" enum:"default,unconfined"`
	// How soon the kernel ends it for want of memory: -1000 (never) to 1000.
	OOMScoreAdj *int `yaml:"oomScoreAdj"`
	// How mounts spread between it and the host.
	RootfsPropagation string `yaml:"rootfsPropagation" enum:"private,rprivate,slave,rslave,shared,rshared,unbindable,runbindable"`
	// Its cgroup; default `/services/NAME`.
	CgroupsPath string `yaml:"cgroupsPath"`
	// Limits of its cgroup.
	Resources *Resources `yaml:"resources"`
	// Kernel parameters of its namespaces, such as `net.ipv4.ip_forward: "1"`.
	Sysctl map[string]string `yaml:"sysctl"`
	// Annotations of the OCI runtime specification.
	Annotations map[string]string `yaml:"annotations"`
	// Limits of setrlimit(2), `NAME,SOFT,HARD`, such as `nofile,1024,unlimited`.
	Rlimits []string `yaml:"rlimits"`
	// User ids inside and outside of a user namespace; default, where it is new:
	// 65536 ids that no container of another name has, from 65536 times the id
	// that its name stands for.
	UIDMappings []IDMapping `yaml:"uidMappings"`
	// Group ids inside and outside of a user namespace; default as the user ids.
	GIDMappings []IDMapping `yaml:"gidMappings"`
	// When it is started again: `on-failure` (the default), when it ends with a
	// status other than 0; `always`, whenever it ends; `no`, never. For services
	// only.
	Restart string `yaml:"restart" enum:"on-failure,always,no"`
	// How to tell whether it works. For services only.
	Healthcheck *Healthcheck `yaml:"healthcheck"`
	// What is done around it on the running system.
	Runtime *Runtime `yaml:"runtime"`
}

// Healthcheck tells whether a service works. A service that does not is stopped,
// and started again as its restart policy says. Exactly one of exec, tcp and
// http is given.
type Healthcheck struct {
	// A program in the container, with its arguments, that ends with status 0.
	Exec []string `yaml:"exec"`
	// A port in the container's network that can be connected to: `PORT` or `HOST:PORT`.
	TCP string `yaml:"tcp"`
	// A URL in the container's network that answers with a status from 200 to 399.
	HTTP string `yaml:"http"`
	// Time between checks; default `10s`.
	Interval Duration `yaml:"interval"`
	// Time a check can take; default `3s`.
	Timeout Duration `yaml:"timeout"`
	// Failures in a row that mean it does not work; default 3.
	Retries uint32 `yaml:"retries"`
	// Time after the start in which failures do not count; default `30s`.
	StartPeriod Duration `yaml:"startPeriod"`
}

// Duration is a time such as `500ms`, `10s` or `2m`.
type Duration time.Duration

// Mount is one mount of a container, as in the OCI runtime specification.
type Mount struct {
	// Where it is in the container.
	Destination string `yaml:"destination"`
	// Type of the file system; default by its source.
	Type string `yaml:"type"`
	// What is mounted; for a bind, an absolute path or the name of a volume.
	Source string `yaml:"source"`
	// Options, as in the OCI runtime specification.
	Options []string `yaml:"options"`
	// User ids, for an id-mapped mount.
	UIDMappings []IDMapping `yaml:"uidMappings,alias=uidmappings"`
	// Group ids, for an id-mapped mount.
	GIDMappings []IDMapping `yaml:"gidMappings,alias=gidmappings"`
}

// Device is one device a container may use.
type Device struct {
	// Where it is in the container; `all` is a rule for every device of the type, without a node.
	Path string `yaml:"path"`
	// `c` or `u` (character), `b` (block), `p` (FIFO); with path all also `a` (any).
	Type string `yaml:"type"`
	// Major number.
	Major int64 `yaml:"major"`
	// Minor number.
	Minor int64 `yaml:"minor"`
	// Permission bits of the node, octal, in quotes; needed unless path is all.
	Mode *Mode `yaml:"mode"`
}

// IDMapping maps a range of ids in the container to ids outside.
type IDMapping struct {
	// First id outside.
	HostID uint32 `yaml:"hostID"`
	// First id in the container.
	ContainerID uint32 `yaml:"containerID"`
	// How many ids.
	Size uint32 `yaml:"size"`
}

// Runtime is what is done around a container on the target, outside of what the
// OCI runtime specification can say.
type Runtime struct {
	// Cgroups made before the container starts.
	Cgroups []string `yaml:"cgroups"`
	// Mounts made before it starts; a relative destination is inside its root.
	Mounts []Mount `yaml:"mounts"`
	// Directories made after the mounts, where they are missing. They belong to
	// the user that the container runs as.
	Mkdir []string `yaml:"mkdir"`
	// Network interfaces put into its network namespace.
	Interfaces []Interface `yaml:"interfaces"`
	// Its namespaces, bound to paths.
	BindNS BindNS `yaml:"bindNS"`
	// The containerd namespace of a service; default `services.linuxkit`.
	Namespace string `yaml:"namespace"`
}

// Interface is a network interface of a container.
type Interface struct {
	// Its name.
	Name string `yaml:"name"`
	// Type of the link to make (veth, bridge, wireguard…); without it, an existing link is moved.
	Add string `yaml:"add"`
	// The other end of a veth, which stays outside.
	Peer string `yaml:"peer"`
	// It is made outside, then moved into the container.
	CreateInRoot bool `yaml:"createInRoot"`
}

// BindNS holds, by namespace, the path it is bound to.
type BindNS struct {
	// Path for the cgroup namespace.
	Cgroup string `yaml:"cgroup"`
	// Path for the IPC namespace.
	Ipc string `yaml:"ipc"`
	// Path for the mount namespace.
	Mnt string `yaml:"mnt"`
	// Path for the network namespace.
	Net string `yaml:"net"`
	// Path for the process namespace.
	Pid string `yaml:"pid"`
	// Path for the user namespace.
	User string `yaml:"user"`
	// Path for the host name namespace.
	Uts string `yaml:"uts"`
}

// Resources are the limits of a cgroup, as in the OCI runtime specification.
type Resources struct {
	// Rules for devices, besides those that come of the container's devices.
	Devices []DeviceRule `yaml:"devices"`
	// Limits of memory.
	Memory *Memory `yaml:"memory"`
	// Limits of processor time.
	CPU *CPU `yaml:"cpu"`
	// Limit of the number of tasks.
	Pids *Pids `yaml:"pids"`
	// Limits of block devices.
	BlockIO *BlockIO `yaml:"blockio,alias=blockIO"`
	// Limits of huge pages.
	HugepageLimits []HugepageLimit `yaml:"hugepageLimits"`
	// Classes of network packets.
	Network *Network `yaml:"network"`
	// Files of its cgroup, and what is written to them, such as
	// `memory.high: "33554432"` or `memory.oom.group: "1"`; cgroup v2 only.
	Unified map[string]string `yaml:"unified"`
}

// DeviceRule allows or denies devices.
type DeviceRule struct {
	// Allowed, or denied.
	Allow bool `yaml:"allow"`
	// `a` (any), `b` (block) or `c` (character).
	Type string `yaml:"type"`
	// Major number; default any.
	Major *int64 `yaml:"major"`
	// Minor number; default any.
	Minor *int64 `yaml:"minor"`
	// Letters of `rwm`: read, write, make.
	Access string `yaml:"access"`
}

// Memory limits memory, in bytes.
type Memory struct {
	// Most memory; -1 is no limit.
	Limit *int64 `yaml:"limit"`
	// Memory that is not taken back under pressure.
	Reservation *int64 `yaml:"reservation"`
	// Most memory and swap together.
	Swap *int64 `yaml:"swap"`
	// Most kernel memory; cgroup v1 only.
	Kernel *int64 `yaml:"kernel"`
	// Most kernel memory for TCP; cgroup v1 only.
	KernelTCP *int64 `yaml:"kernelTCP"`
	// How readily memory is swapped out, 0 to 100; cgroup v1 only.
	Swappiness *uint64 `yaml:"swappiness"`
	// Tasks wait for memory instead of being killed; cgroup v1 only.
	DisableOOMKiller *bool `yaml:"disableOOMKiller"`
}

// CPU limits processor time; times are in microseconds.
type CPU struct {
	// Share relative to others; 1024 is normal.
	Shares *uint64 `yaml:"shares"`
	// Time in each period.
	Quota *int64 `yaml:"quota"`
	// Length of a period.
	Period *uint64 `yaml:"period"`
	// Time of real-time tasks in each period; cgroup v1 only.
	RealtimeRuntime *int64 `yaml:"realtimeRuntime"`
	// Length of a real-time period; cgroup v1 only.
	RealtimePeriod *uint64 `yaml:"realtimePeriod"`
	// Processors it can use, such as `0-2,4`.
	Cpus string `yaml:"cpus"`
	// Memory nodes it can use.
	Mems string `yaml:"mems"`
}

// Pids limits the number of tasks.
type Pids struct {
	// Most tasks; -1 is no limit.
	Limit *int64 `yaml:"limit"`
}

// BlockIO weights and throttles block devices.
type BlockIO struct {
	// Share relative to others, 10 to 1000.
	Weight *uint16 `yaml:"weight"`
	// Share relative to its own children; cgroup v1 only.
	LeafWeight *uint16 `yaml:"leafWeight"`
	// Shares for single devices.
	WeightDevice []WeightDevice `yaml:"weightDevice"`
	// Most bytes read in a second.
	ThrottleReadBpsDevice []ThrottleDevice `yaml:"throttleReadBpsDevice"`
	// Most bytes written in a second.
	ThrottleWriteBpsDevice []ThrottleDevice `yaml:"throttleWriteBpsDevice"`
	// Most reads in a second.
	ThrottleReadIOPSDevice []ThrottleDevice `yaml:"throttleReadIOPSDevice"`
	// Most writes in a second.
	ThrottleWriteIOPSDevice []ThrottleDevice `yaml:"throttleWriteIOPSDevice"`
}

// WeightDevice is the weight of one block device.
type WeightDevice struct {
	// Major number.
	Major int64 `yaml:"major"`
	// Minor number.
	Minor int64 `yaml:"minor"`
	// Share relative to others, 10 to 1000.
	Weight *uint16 `yaml:"weight"`
	// Share relative to its own children; cgroup v1 only.
	LeafWeight *uint16 `yaml:"leafWeight"`
}

// ThrottleDevice is the rate of one block device, in bytes or operations per second.
type ThrottleDevice struct {
	// Major number.
	Major int64 `yaml:"major"`
	// Minor number.
	Minor int64 `yaml:"minor"`
	// Bytes or operations per second.
	Rate uint64 `yaml:"rate"`
}

// HugepageLimit is the limit for pages of one size.
type HugepageLimit struct {
	// Size of a page, such as `2MB`.
	Pagesize string `yaml:"pagesize,alias=pageSize"`
	// Most bytes.
	Limit uint64 `yaml:"limit"`
}

// Network classifies a container's packets.
type Network struct {
	// Class of its packets, for tc; cgroup v1 only.
	ClassID *uint32 `yaml:"classID"`
	// Priorities by interface; cgroup v1 only.
	Priorities []InterfacePriority `yaml:"priorities"`
}

// InterfacePriority is the priority of packets on one interface.
type InterfacePriority struct {
	// The interface.
	Name string `yaml:"name"`
	// Its priority.
	Priority uint32 `yaml:"priority"`
}
