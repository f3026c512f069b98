package manifest

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// checkConfig finds what no container could run with. at is the path of the
// container, "" in a label.
func (d *decoder) checkConfig(c *Config, at string) {
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
	for key, list := range map[string][]string{"binds": c.Binds, "binds.add": c.BindsAdd} {
		for i, s := range list {
			if parts := strings.SplitN(s, ":", 3); len(parts) < 2 || parts[0] == "" || !path.IsAbs(parts[1]) {
				d.complain(fmt.Sprintf("%s[%d]", join(at, key), i), fmt.Sprintf("%q is not a bind", s), `write "/source:/destination" or "/source:/destination:ro"`)
			}
		}
	}
	for i, s := range c.Tmpfs {
		if dst, _, _ := strings.Cut(s, ":"); !path.IsAbs(dst) {
			d.complain(fmt.Sprintf("%s[%d]", join(at, "tmpfs"), i), fmt.Sprintf("%q is not an absolute path", dst), `write "/run:size=1m"`)
		}
	}
	for i, m := range c.Mounts {
		if m.Destination == "" && MountDestination(m.Type) == "" {
			d.complain(fmt.Sprintf("%s[%d]", join(at, "mounts"), i), "a mount needs a destination", `add "destination: /…"`)
		}
	}
	d.checkDevices(c.Devices, at)
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
				known := make([]field, len(Capabilities))
				for i, c := range Capabilities {
					known[i] = field{name: c}
				}
				hint = nearest(s, known)
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
