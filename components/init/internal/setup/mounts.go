package setup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

// mounts are what every system has, in order.
var mounts = []mnt.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev", Type: "devtmpfs", Source: "dev", Options: []string{"nosuid", "mode=755", "size=10m"}},
	{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"}},
	{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "nodev", "noexec", "mode=1777"}},
	{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "nodev", "noexec"}},
	{Destination: "/run", Type: "tmpfs", Source: "run", Options: []string{"nosuid", "nodev", "size=10%", "mode=755"}},
	{Destination: "/tmp", Type: "tmpfs", Source: "tmp", Options: []string{"nosuid", "nodev", "size=10%", "mode=1777"}},
	{Destination: "/var", Type: "tmpfs", Source: "var", Options: []string{"nosuid", "nodev", "size=50%", "mode=755"}},
	{Destination: "/sys/fs/cgroup", Type: "cgroup2", Source: "cgroup2", Options: []string{"nosuid", "nodev", "noexec", "nsdelegate"}},
}

// optional are mounted where the kernel has made a place for them.
var optional = []mnt.Mount{
	{Destination: "/sys/kernel/security", Type: "securityfs", Source: "securityfs"},
	{Destination: "/sys/kernel/debug", Type: "debugfs", Source: "debugfs"},
	{Destination: "/sys/kernel/config", Type: "configfs", Source: "configfs"},
	{Destination: "/sys/fs/fuse/connections", Type: "fusectl", Source: "fusectl"},
	{Destination: "/sys/fs/pstore", Type: "pstore", Source: "pstore"},
	{Destination: "/sys/fs/bpf", Type: "bpf", Source: "bpf", Options: []string{"mode=700"}},
	{Destination: "/sys/firmware/efi/efivars", Type: "efivarfs", Source: "efivarfs"},
}

// links are in every /dev, and /var/run is where programs look for /run.
var links = [][2]string{
	{"/proc/self/fd", "/dev/fd"},
	{"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"},
	{"/proc/self/fd/2", "/dev/stderr"},
	{"/run", "/var/run"},
}

// varDirs are what programs expect to be in /var.
var varDirs = []string{"cache", "empty", "lib", "local", "lock", "log", "opt", "spool", "tmp"}

// Kernel mounts the first three, which show the kernel, its devices and their
// nodes, in an initramfs that looks for the root file system. release lets go
// of them, and of those that are there if others cannot be mounted.
func Kernel() (release func() error, err error) {
	own := mounts[:3]
	var errs []error
	for _, m := range own {
		errs = append(errs, m.Do())
	}
	return func() error {
		var errs []error
		for _, m := range own {
			errs = append(errs, mnt.Detach(m.Destination))
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

// Mounts mounts the kernel's file systems and the writable ones, all in
// memory. The errors are of what is missing; the rest is there.
func Mounts() error {
	var errs []error
	for _, m := range mounts {
		errs = append(errs, m.Do())
	}
	for _, l := range links {
		if err := os.Symlink(l[0], l[1]); err != nil && !os.IsExist(err) {
			errs = append(errs, fmt.Errorf("linking: %w", err))
		}
	}
	for _, dir := range varDirs {
		if err := os.MkdirAll(filepath.Join("/var", dir), 0o755); err != nil {
			errs = append(errs, fmt.Errorf("making a directory: %w", err))
		}
	}
	errs = append(errs, os.Chmod("/var/tmp", os.ModeSticky|0o777), controllers("/sys/fs/cgroup"))
	return errors.Join(errs...)
}

// controllers hands all of the kernel's cgroup controllers on to the cgroups
// below root. One that cannot be handed on must not keep the others back.
func controllers(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("reading the cgroup controllers: %w", err)
	}
	var errs []error
	for _, name := range strings.Fields(string(text)) {
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+name), 0); err != nil {
			errs = append(errs, fmt.Errorf("enabling cgroup controller %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Optional mounts those of the kernel's further file systems that it has.
func Optional() error {
	var errs []error
	for _, m := range optional {
		if _, err := os.Stat(m.Destination); err != nil {
			continue
		}
		m.Options = append([]string{"nosuid", "nodev", "noexec"}, m.Options...)
		errs = append(errs, m.Do())
	}
	return errors.Join(errs...)
}
