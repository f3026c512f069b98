package manifest

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/lkx-os/lkx/internal/source"
)

// checkConfig finds what no container could run with. at is the path of the
// container, "" in a label, which knows no volumes: there volumes is nil.
func (d *decoder) checkConfig(c *Config, at string, volumes map[string]*Volume) {
	for key, list := range map[string][]string{
		"capabilities": c.Capabilities, "capabilities.add": c.CapabilitiesAdd, "ambient": c.Ambient,
	} {
		d.checkCapabilities(list, join(at, key))
	}
	for i, s := range c.Rlimits {
		if _, err := ParseRlimit(s); err != nil {
			d.complain(fmt.Sprintf("%s[%d]", join(at, "rlimits"), i), err.Error(), `write "nofile,1024,4096"; "unlimited" is a value`)
		}
	}
	d.checkMounts(c, at, volumes)
	d.checkDevices(c.Devices, at)
	d.checkNamespaces(c, at)
	if c.Runtime != nil {
		for i, f := range c.Runtime.Interfaces {
			if f.Name == "" {
				d.complain(fmt.Sprintf("%s[%d]", join(at, "runtime.interfaces"), i), "an interface needs a name", `add "name: eth0"`)
			}
		}
	}
	if c.Cwd != "" && !path.IsAbs(c.Cwd) {
		d.complain(join(at, "cwd"), fmt.Sprintf("%q is not an absolute path", c.Cwd), "")
	}
	if c.OOMScoreAdj != nil && (*c.OOMScoreAdj < -1000 || *c.OOMScoreAdj > 1000) {
		d.complain(join(at, "oomScoreAdj"), fmt.Sprintf("%d is out of range", *c.OOMScoreAdj), "it goes from -1000 to 1000")
	}
	if c.Healthcheck != nil {
		d.checkHealth(c.Healthcheck, join(at, "healthcheck"))
	}
}

// checkMounts looks at all that is mounted in a container.
func (d *decoder) checkMounts(c *Config, at string, volumes map[string]*Volume) {
	for key, list := range map[string][]string{"binds": c.Binds, "binds.add": c.BindsAdd} {
		for i, s := range list {
			item := fmt.Sprintf("%s[%d]", join(at, key), i)
			parts := strings.SplitN(s, ":", 3)
			if len(parts) < 2 || parts[0] == "" || !path.IsAbs(parts[1]) {
				d.complain(item, fmt.Sprintf("%q is not a bind", s), `write "/source:/destination" or "/source:/destination:ro"`)
				continue
			}
			var options []string
			if len(parts) == 3 {
				options = strings.Split(parts[2], ",")
			}
			d.checkSource(item, parts[0], options, volumes)
		}
	}
	for i, s := range c.Tmpfs {
		if dst, _, _ := strings.Cut(s, ":"); !path.IsAbs(dst) {
			d.complain(fmt.Sprintf("%s[%d]", join(at, "tmpfs"), i), fmt.Sprintf("%q is not an absolute path", dst), `write "/run:size=1m"`)
		}
	}
	for i, m := range c.Mounts {
		item := fmt.Sprintf("%s[%d]", join(at, "mounts"), i)
		switch {
		case m.Destination == "" && MountDestination(m.Type) == "" && MountDestination(m.Source) == "":
			d.complain(item, "a mount needs a destination", `add "destination: /…"`)
		case m.Destination != "" && !path.IsAbs(m.Destination):
			d.complain(item+".destination", fmt.Sprintf("%q is not an absolute path", m.Destination), "")
		case m.IsBind():
			d.checkSource(item, m.Source, m.Options, volumes)
		}
	}
}

// IsBind tells whether m makes something visible in a second place.
func (m *Mount) IsBind() bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// checkSource looks at what is bound: an absolute path or a volume.
func (d *decoder) checkSource(at, src string, options []string, volumes map[string]*Volume) {
	if volumes == nil || path.IsAbs(src) {
		return
	}
	v := volumes[src]
	switch {
	case v == nil:
		hint := "write an absolute path, or the name of an entry of volumes"
		if near := source.Nearest(src, slices.Sorted(maps.Keys(volumes))); near != "" {
			hint = near
		}
		d.complain(at, fmt.Sprintf("no volume is named %q", src), hint)
	case v.Readonly && !slices.Contains(options, "ro"):
		d.complain(at, fmt.Sprintf("volume %q is read-only, and bound to be written", src), `add the option "ro"`)
	}
}

// checkNamespaces looks at what each namespace is.
func (d *decoder) checkNamespaces(c *Config, at string) {
	for _, n := range []struct {
		key, value string
		words      []string
	}{
		{"net", c.Net, []string{"host", "root", "new", "none"}},
		{"pid", c.Pid, []string{"host", "root", "new"}},
		{"ipc", c.Ipc, []string{"host", "root", "new"}},
		{"uts", c.Uts, []string{"host", "root", "new"}},
		{"userns", c.Userns, []string{"host", "root", "new"}},
		{"cgroupns", c.Cgroupns, []string{"host", "root", "new"}},
	} {
		if n.value != "" && !path.IsAbs(n.value) && !slices.Contains(n.words, n.value) {
			d.complain(join(at, n.key), fmt.Sprintf("%q is not a namespace", n.value), "allowed: "+strings.Join(n.words, ", ")+", or a path")
		}
	}
}

// checkHealth looks at how a service is checked.
func (d *decoder) checkHealth(h *Healthcheck, at string) {
	var given []string
	for _, k := range []struct {
		key string
		set bool
	}{{"exec", h.Exec != nil}, {"tcp", h.TCP != ""}, {"http", h.HTTP != ""}} {
		if k.set {
			given = append(given, k.key)
		}
	}
	switch {
	case len(given) == 0:
		d.complain(at, "nothing says what is checked", "add one of: exec, tcp, http")
	case len(given) > 1:
		d.complain(join(at, given[1]), fmt.Sprintf("%s and %s exclude each other", given[0], given[1]), "keep one of them")
	case h.Exec != nil && len(h.Exec) == 0:
		d.complain(join(at, "exec"), "there is no program", `write "[/bin/program, argument]"`)
	}
	if h.TCP != "" {
		port := h.TCP[strings.LastIndexByte(h.TCP, ':')+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			d.complain(join(at, "tcp"), fmt.Sprintf("%q is not a port", h.TCP), `write "80" or "127.0.0.1:80"`)
		}
	}
	if u, err := url.Parse(h.HTTP); h.HTTP != "" && (err != nil || u.Scheme != "http" || u.Host == "") {
		d.complain(join(at, "http"), fmt.Sprintf("%q is not a URL", h.HTTP), `write "http://127.0.0.1:8080/healthz"; https is not supported`)
	}
}

func (d *decoder) checkCapabilities(list []string, at string) {
	for i, s := range list {
		item := fmt.Sprintf("%s[%d]", at, i)
		switch word := strings.ToLower(s); {
		case (word == "all" || word == "none") && len(list) == 1:
		case word == "all" || word == "none":
			d.complain(item, fmt.Sprintf("%q must stand alone", s), "")
		case !slices.Contains(Capabilities, s):
			hint := ""
			if up := "CAP_" + strings.TrimPrefix(strings.ToUpper(s), "CAP_"); slices.Contains(Capabilities, up) {
				hint = fmt.Sprintf("did you mean %q?", up)
			} else {
				hint = source.Nearest(s, Capabilities)
			}
			d.complain(item, fmt.Sprintf("unknown capability %q", s), hint)
		}
	}
}

func (d *decoder) checkDevices(list []Device, at string) {
	for i, v := range list {
		item := fmt.Sprintf("%s[%d]", join(at, "devices"), i)
		switch {
		case v.Path == "":
			d.complain(item, "a device needs a path", `add "path: /dev/…", or "path: all" for every device of a type`)
		case v.Path != "all" && v.Mode == nil:
			d.complain(item, "a device needs a mode", `add mode: "0660"`)
		case v.Path != "all" && !slices.Contains([]string{"b", "c", "u", "p"}, v.Type):
			d.complain(item, fmt.Sprintf("unknown device type %q", v.Type), `"c" and "u" are character devices, "b" is a block device, "p" a FIFO`)
		case v.Path == "all" && !slices.Contains([]string{"a", "b", "c"}, v.Type):
			d.complain(item, fmt.Sprintf("unknown device type %q", v.Type), `"a" is every device, "b" block devices, "c" character devices`)
		}
	}
}

// Capabilities are the names of capabilities(7), in order of their numbers.
var Capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// MountDestination is where a mount of this type goes when it does not say, or "".
func MountDestination(typ string) string {
	return map[string]string{
		"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup", "mqueue": "/dev/mqueue",
	}[typ]
}

// Rlimit is one resource limit; Type is as in setrlimit(2), such as "RLIMIT_NOFILE".
type Rlimit struct {
	Type       string
	Soft, Hard uint64 // the largest value is "unlimited"
}

// rlimitNames are the resources of setrlimit(2).
var rlimitNames = []string{
	"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC",
	"RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
	"RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
}

// ParseRlimit reads "name,soft,hard"; the name may be in any case and leave out "RLIMIT_".
func ParseRlimit(s string) (Rlimit, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return Rlimit{}, fmt.Errorf("%q is not a limit", s)
	}
	r := Rlimit{Type: "RLIMIT_" + strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(parts[0])), "RLIMIT_")}
	if !slices.Contains(rlimitNames, r.Type) {
		return Rlimit{}, fmt.Errorf("unknown limit %q", parts[0])
	}
	for i, to := range []*uint64{&r.Soft, &r.Hard} {
		v := strings.TrimSpace(parts[i+1])
		if v == "unlimited" {
			*to = ^uint64(0)
			continue
		}
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return Rlimit{}, fmt.Errorf("%q is not a number, in limit %q", v, s)
		}
		*to = n
	}
	return r, nil
}
