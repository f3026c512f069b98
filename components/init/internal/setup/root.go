// Package setup makes of a booted kernel and a root file system a machine that
// containers can run on.
package setup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// staging is where the root file system is bound before it is moved. Any
// directory will do: what is in it is seen again after the move.
const staging = "/run"

// Initramfs tells whether / is an initramfs, and not a disk or an image.
func Initramfs() (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return false, fmt.Errorf("looking at the root file system: %w", err)
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC, nil
}

// Root makes / a mount that pivot_root(2) accepts to leave, as a container
// runtime does. It refuses the mount that the kernel unpacks an initramfs to,
// for that one has no parent. So / is bound once more and that mount is put
// over it: the same files, not a copy. On a disk or an image / has a parent
// already. The kernel's threads change root along with the first process.
func Root() error {
	if initramfs, err := Initramfs(); err != nil || !initramfs {
		return err
	}
	if err := os.MkdirAll(staging, 0o755); err != nil {
		return fmt.Errorf("making a place to bind the root file system to: %w", err)
	}
	for _, step := range []struct {
		does string
		call func() error
	}{
		{"binding the root file system", func() error { return unix.Mount("/", staging, "", unix.MS_BIND, "") }},
		{"entering the bound root file system", func() error { return unix.Chdir(staging) }},
		{"moving the root file system over itself", func() error { return unix.Mount(".", "/", "", unix.MS_MOVE, "") }},
		{"changing root", func() error { return unix.Chroot(".") }},
		{"entering the new root", func() error { return unix.Chdir("/") }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("%s: %w", step.does, err)
		}
	}
	return nil
}

var errIncomplete = errors.New("the system is not complete: it takes more than half of the memory; give the machine more, or add rootfstype=ramfs to the kernel's command line")

// Complete tells of a root file system that the kernel has filled to the brim,
// and so has not unpacked the whole of. It goes on then all the same.
func Complete() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return fmt.Errorf("looking at the root file system: %w", err)
	}
	if fs.Type == unix.TMPFS_MAGIC && fs.Blocks > 0 && fs.Bfree == 0 {
		return errIncomplete
	}
	return nil
}

// Seal makes the root file system read-only, in itself and not only as mounted
// here, and shares mounts below it with the containers that ask for that. The
// mount below / stays private: pivot_root(2) refuses a shared parent too.
func Seal() error {
	readonly := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	// Where something still writes, this mount of it is made read-only at least.
	bind := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	if bind != nil {
		return fmt.Errorf("making the root file system read-only: %w", errors.Join(readonly, bind))
	}
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("sharing the mounts: %w", err)
	}
	return nil
}
