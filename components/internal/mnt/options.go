// Package mnt mounts what OCI and fstab-like option lists describe.
package mnt

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Options are mount options, sorted by what mount(2) does with them.
type Options struct {
	Flags       uintptr // MS_* without propagation
	Clear       uintptr // MS_* that an option took back, such as "rw" after a remount
	Propagation uintptr // MS_SHARED and the like, with MS_REC where asked for; 0 for none
	Data        string  // what the file system itself reads
}

type flag struct {
	bit   uintptr
	clear bool
}

// flags are the options of mount(8) that are flags to mount(2).
var flags = map[string]flag{
	"ro": {bit: unix.MS_RDONLY}, "rw": {bit: unix.MS_RDONLY, clear: true},
	"nosuid": {bit: unix.MS_NOSUID}, "suid": {bit: unix.MS_NOSUID, clear: true},
	"nodev": {bit: unix.MS_NODEV}, "dev": {bit: unix.MS_NODEV, clear: true},
	"noexec": {bit: unix.MS_NOEXEC}, "exec": {bit: unix.MS_NOEXEC, clear: true},
	"sync": {bit: unix.MS_SYNCHRONOUS}, "async": {bit: unix.MS_SYNCHRONOUS, clear: true},
	"noatime": {bit: unix.MS_NOATIME}, "atime": {bit: unix.MS_NOATIME, clear: true},
	"nodiratime": {bit: unix.MS_NODIRATIME}, "diratime": {bit: unix.MS_NODIRATIME, clear: true},
	"relatime": {bit: unix.MS_RELATIME}, "norelatime": {bit: unix.MS_RELATIME, clear: true},
	"strictatime": {bit: unix.MS_STRICTATIME}, "nostrictatime": {bit: unix.MS_STRICTATIME, clear: true},
	"mand": {bit: unix.MS_MANDLOCK}, "nomand": {bit: unix.MS_MANDLOCK, clear: true},
	"dirsync": {bit: unix.MS_DIRSYNC}, "silent": {bit: unix.MS_SILENT},
	"remount": {bit: unix.MS_REMOUNT}, "defaults": {},
	"bind": {bit: unix.MS_BIND}, "rbind": {bit: unix.MS_BIND | unix.MS_REC},
}

var propagations = map[string]uintptr{
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// Parse sorts options; what is no option of mount(8) goes to the file system.
func Parse(options []string) Options {
	var out Options
	var data []string
	for _, o := range options {
		if p, ok := propagations[o]; ok {
			out.Propagation = p
		} else if f, ok := flags[o]; !ok {
			data = append(data, o)
		} else if f.clear {
			out.Flags &^= f.bit
			out.Clear |= f.bit
		} else {
			out.Flags |= f.bit
			out.Clear &^= f.bit
		}
	}
	out.Data = strings.Join(data, ",")
	return out
}

// Value is the value of "name=value" among options, "" for none.
func Value(options []string, name string) string {
	for _, o := range options {
		if k, v, _ := strings.Cut(o, "="); k == name {
			return v
		}
	}
	return ""
}
