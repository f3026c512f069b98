package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Types of file systems that hold an initramfs (statfs(2)).
const (
	ramfsMagic = 0x858458f6
	tmpfsMagic = 0x01021994
)

// moveRoot makes the root directory a mount with a parent. An initramfs is
// unpacked into the kernel's first mount, which has none, and from which
// pivot_root(2) refuses to switch: no container could start. So the root is
// bound to a directory, and that mount moved over it. Nothing is copied.
func moveRoot() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return err
	}
	if t := uint32(fs.Type); t != ramfsMagic && t != tmpfsMagic {
		return nil
	}
	const at = "/.lkx-root"
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("/", at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding the root: %w", err)
	}
	if err := unix.Chdir(at); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return os.Remove(at)
}

// mount is one mount of the system.
type mount struct {
	fs, at, data string
	flags        uintptr
	optional     bool // kernels may lack it
}

const hardened = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mounts are made in this order.
var mounts = []mount{
	{fs: "proc", at: "/proc", flags: hardened},
	{fs: "sysfs", at: "/sys", flags: hardened},
	{fs: "devtmpfs", at: "/dev", flags: unix.MS_NOSUID | unix.MS_NOEXEC, data: "mode=0755,size=10m"},
	{fs: "devpts", at: "/dev/pts", flags: unix.MS_NOSUID | unix.MS_NOEXEC, data: "gid=5,mode=0620,ptmxmode=0666"},
	{fs: "tmpfs", at: "/dev/shm", flags: hardened, data: "mode=1777"},
	{fs: "mqueue", at: "/dev/mqueue", flags: hardened, optional: true},
	{fs: "tmpfs", at: "/run", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=0755,size=10%"},
	{fs: "tmpfs", at: "/tmp", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=1777,size=10%"},
	{fs: "tmpfs", at: "/var", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=0755,size=50%"},
	{fs: "cgroup2", at: "/sys/fs/cgroup", flags: hardened, data: "nsdelegate"},
	{fs: "securityfs", at: "/sys/kernel/security", flags: hardened, optional: true},
	{fs: "bpf", at: "/sys/fs/bpf", flags: hardened, optional: true},
	{fs: "pstore", at: "/sys/fs/pstore", flags: hardened, optional: true},
	{fs: "efivarfs", at: "/sys/firmware/efi/efivars", flags: hardened, optional: true},
}

// varDirs are the directories of /var, which begins empty at every boot.
var varDirs = []string{"cache", "empty", "lib", "local", "lock", "log", "opt", "spool", "tmp"}

func mountAll() error {
	var errs []error
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil && m.optional {
			continue
		}
		err := unix.Mount(m.fs, m.at, m.fs, m.flags, m.data)
		if err != nil && !m.optional && !errors.Is(err, unix.EBUSY) {
			errs = append(errs, fmt.Errorf("%s: %w", m.at, err))
		}
	}
	for _, d := range varDirs {
		errs = append(errs, os.Mkdir("/var/"+d, 0o755))
	}
	errs = append(errs, os.Chmod("/var/tmp", 0o1777), os.Symlink("/run", "/var/run"))
	return errors.Join(append(errs, delegate())...)
}

// delegate lets cgroups below the root limit everything that can be limited.
func delegate() error {
	text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range strings.Fields(string(text)) {
		errs = append(errs, os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+"+c), 0))
	}
	return errors.Join(errs...)
}

// applyXattrs gives files the extended attributes that a cpio archive cannot
// hold, from the lists that the builder put beside them.
func applyXattrs() error {
	lists, err := filepath.Glob("/.lkx/xattrs-*.json")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range lists {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var list []struct {
			Path   string            `json:"path"`
			Xattrs map[string][]byte `json:"xattrs"`
		}
		if err := json.Unmarshal(text, &list); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, f := range list {
			for k, v := range f.Xattrs {
				if err := unix.Lsetxattr("/"+f.Path, k, v, 0); err != nil {
					errs = append(errs, fmt.Errorf("%s: %s: %w", f.Path, k, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// closeRoot makes the root read-only, and lets mounts reach containers that ask
// for it.
func closeRoot() error {
	// The file system, and the mount: the one alone could be bound elsewhere and
	// written to there, the other alone does not show.
	for _, what := range []uintptr{0, unix.MS_BIND} {
		if err := unix.Mount("", "/", "", what|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("remounting the root read-only: %w", err)
		}
	}
	return unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "")
}

// unmountAll unmounts what has a disk below it, last first.
func unmountAll() {
	text, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range slices.Backward(lines) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] == "/" || !strings.HasPrefix(f[0], "/dev/") && f[2] != "overlay" {
			continue
		}
		if err := unix.Unmount(f[1], 0); err != nil {
			_ = unix.Mount("", f[1], "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
}
