package manifest

// Config is how a container runs: the keys an entry may have besides its name
// and image, and those an image may carry in its label "org.mobyproject.config".
// A nil field was not given.
type Config struct {
	Capabilities      []string          `yaml:"capabilities"`
	CapabilitiesAdd   []string          `yaml:"capabilities.add"`
	Ambient           []string          `yaml:"ambient"`
	Mounts            []Mount           `yaml:"mounts"`
	Binds             []string          `yaml:"binds"`
	BindsAdd          []string          `yaml:"binds.add"`
	Tmpfs             []string          `yaml:"tmpfs"`
	Devices           []Device          `yaml:"devices"`
	Command           []string          `yaml:"command"`
	Env               []string          `yaml:"env"`
	Cwd               string            `yaml:"cwd"`
	Net               string            `yaml:"net"`
	Pid               string            `yaml:"pid"`
	Ipc               string            `yaml:"ipc"`
	Uts               string            `yaml:"uts"`
	Userns            string            `yaml:"userns"`
	Hostname          string            `yaml:"hostname"`
	Readonly          *bool             `yaml:"readonly"`
	MaskedPaths       []string          `yaml:"maskedPaths"`
	ReadonlyPaths     []string          `yaml:"readonlyPaths"`
	UID               *ID               `yaml:"uid"`
	GID               *ID               `yaml:"gid"`
	AdditionalGids    []ID              `yaml:"additionalGids"`
	NoNewPrivileges   *bool             `yaml:"noNewPrivileges"`
	OOMScoreAdj       *int              `yaml:"oomScoreAdj"`
	RootfsPropagation string            `yaml:"rootfsPropagation"`
	CgroupsPath       string            `yaml:"cgroupsPath"`
	Resources         *Resources        `yaml:"resources"`
	Sysctl            map[string]string `yaml:"sysctl"`
	Annotations       map[string]string `yaml:"annotations"`
	Rlimits           []string          `yaml:"rlimits"`
	UIDMappings       []IDMapping       `yaml:"uidMappings"`
	GIDMappings       []IDMapping       `yaml:"gidMappings"`
	Runtime           *Runtime          `yaml:"runtime"`
}

// Mount is one mount of a container, as in the OCI runtime specification.
type Mount struct {
	Destination string      `yaml:"destination"`
	Type        string      `yaml:"type"`
	Source      string      `yaml:"source"`
	Options     []string    `yaml:"options"`
	UIDMappings []IDMapping `yaml:"uidMappings,alias=uidmappings"`
	GIDMappings []IDMapping `yaml:"gidMappings,alias=gidmappings"`
}

// Device is one device a container may use. Path "all" is a rule without a node.
type Device struct {
	Path  string `yaml:"path"`
	Type  string `yaml:"type"` // a, b, c, u or p
	Major int64  `yaml:"major"`
	Minor int64  `yaml:"minor"`
	Mode  *Mode  `yaml:"mode"`
}

// IDMapping maps Size ids from ContainerID in the container to HostID outside.
type IDMapping struct {
	HostID      uint32 `yaml:"hostID"`
	ContainerID uint32 `yaml:"containerID"`
	Size        uint32 `yaml:"size"`
}

// Runtime is what is done around a container on the target, outside of what the
// OCI runtime specification can say.
type Runtime struct {
	Cgroups    []string    `yaml:"cgroups"`    // made before the container starts
	Mounts     []Mount     `yaml:"mounts"`     // made before it starts; a relative destination is inside its root
	Mkdir      []string    `yaml:"mkdir"`      // made after the mounts
	Interfaces []Interface `yaml:"interfaces"` // put into its network namespace
	BindNS     BindNS      `yaml:"bindNS"`     // its namespaces, bound to paths
	Namespace  string      `yaml:"namespace"`  // containerd namespace of a service
}

// Interface is a network interface of a container.
type Interface struct {
	Name         string `yaml:"name"`
	Add          string `yaml:"add"` // type of a new link; "" moves an existing one
	Peer         string `yaml:"peer"`
	CreateInRoot bool   `yaml:"createInRoot"`
}

// BindNS holds, by namespace, the path it is bound to.
type BindNS struct {
	Cgroup string `yaml:"cgroup"`
	Ipc    string `yaml:"ipc"`
	Mnt    string `yaml:"mnt"`
	Net    string `yaml:"net"`
	Pid    string `yaml:"pid"`
	User   string `yaml:"user"`
	Uts    string `yaml:"uts"`
}

// Resources are cgroup limits, as in the OCI runtime specification, config-linux.md.
type Resources struct {
	Devices        []DeviceRule    `yaml:"devices"`
	Memory         *Memory         `yaml:"memory"`
	CPU            *CPU            `yaml:"cpu"`
	Pids           *Pids           `yaml:"pids"`
	BlockIO        *BlockIO        `yaml:"blockio,alias=blockIO"`
	HugepageLimits []HugepageLimit `yaml:"hugepageLimits"`
	Network        *Network        `yaml:"network"`
}

// DeviceRule allows or denies devices.
type DeviceRule struct {
	Allow  bool   `yaml:"allow"`
	Type   string `yaml:"type"`
	Major  *int64 `yaml:"major"`
	Minor  *int64 `yaml:"minor"`
	Access string `yaml:"access"`
}

// Memory limits are in bytes.
type Memory struct {
	Limit            *int64  `yaml:"limit"`
	Reservation      *int64  `yaml:"reservation"`
	Swap             *int64  `yaml:"swap"`
	Kernel           *int64  `yaml:"kernel"`
	KernelTCP        *int64  `yaml:"kernelTCP"`
	Swappiness       *uint64 `yaml:"swappiness"`
	DisableOOMKiller *bool   `yaml:"disableOOMKiller"`
}

// CPU times are in microseconds.
type CPU struct {
	Shares          *uint64 `yaml:"shares"`
	Quota           *int64  `yaml:"quota"`
	Period          *uint64 `yaml:"period"`
	RealtimeRuntime *int64  `yaml:"realtimeRuntime"`
	RealtimePeriod  *uint64 `yaml:"realtimePeriod"`
	Cpus            string  `yaml:"cpus"`
	Mems            string  `yaml:"mems"`
}

// Pids limits the number of tasks.
type Pids struct {
	Limit *int64 `yaml:"limit"`
}

// BlockIO weights and throttles block devices.
type BlockIO struct {
	Weight                  *uint16          `yaml:"weight"`
	LeafWeight              *uint16          `yaml:"leafWeight"`
	WeightDevice            []WeightDevice   `yaml:"weightDevice"`
	ThrottleReadBpsDevice   []ThrottleDevice `yaml:"throttleReadBpsDevice"`
	ThrottleWriteBpsDevice  []ThrottleDevice `yaml:"throttleWriteBpsDevice"`
	ThrottleReadIOPSDevice  []ThrottleDevice `yaml:"throttleReadIOPSDevice"`
	ThrottleWriteIOPSDevice []ThrottleDevice `yaml:"throttleWriteIOPSDevice"`
}

// WeightDevice is the weight of one block device.
type WeightDevice struct {
	Major      int64   `yaml:"major"`
	Minor      int64   `yaml:"minor"`
	Weight     *uint16 `yaml:"weight"`
	LeafWeight *uint16 `yaml:"leafWeight"`
}

// ThrottleDevice is the rate of one block device, in bytes or operations per second.
type ThrottleDevice struct {
	Major int64  `yaml:"major"`
	Minor int64  `yaml:"minor"`
	Rate  uint64 `yaml:"rate"`
}

// HugepageLimit is the limit, in bytes, for pages of one size such as "2MB".
type HugepageLimit struct {
	Pagesize string `yaml:"pagesize,alias=pageSize"`
	Limit    uint64 `yaml:"limit"`
}

// Network classifies a container's packets.
type Network struct {
	ClassID    *uint32             `yaml:"classID"`
	Priorities []InterfacePriority `yaml:"priorities"`
}

// InterfacePriority is the priority of packets on one interface.
type InterfacePriority struct {
	Name     string `yaml:"name"`
	Priority uint32 `yaml:"priority"`
}
