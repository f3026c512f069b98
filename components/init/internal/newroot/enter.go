package newroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mount mounts the file system of d, of type fstype, on dir, read-only.
func (d *Device) Mount(dir, fstype string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the mount point of the root file system: %w", err)
	}
	path := d.Path
	if d.Off > 0 {
		var err error
		if path, err = loop(d); err != nil {
			return fmt.Errorf("making a device of partition %d of %s: %w", d.Part, d.Path, err)
		}
	}
	if err := unix.Mount(path, dir, fstype, unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mounting the root file system, %s on %s: %w", fstype, d.Path, err)
	}
	d.FS.Type, d.Err = fstype, nil
	return nil
}

// inits are where a root file system has its first program.
var inits = []string{"/init", "/sbin/init"}

// Init is the first program of the root file system in dir, as it will be
// called there.
func Init(dir string) (string, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("opening the root file system: %w", err)
	}
	defer unix.Close(root)
	for _, name := range inits {
		// Links in it are meant from its own top.
		fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		if err != nil {
			continue
		}
		err = unix.Faccessat(fd, "", unix.X_OK, unix.AT_EMPTY_PATH)
		unix.Close(fd)
		if err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("the root file system has no program %s or %s", inits[0], inits[1])
}

// Enter makes the file system mounted on dir the root, in place of an initramfs
// that it empties: nothing else gives back its memory. Other mounts are left
// alone and can no longer be reached. Then it executes init there with this
// process's arguments and environment, and so returns only an error.
func Enter(dir, init string) error {
	var top unix.Stat_t
	if err := unix.Lstat("/", &top); err != nil {
		return fmt.Errorf("looking at the initramfs: %w", err)
	}
	if err := empty("/", top.Dev); err != nil {
		return fmt.Errorf("emptying the initramfs: %w", err)
	}
	for _, step := range []struct {
		does string
		call func() error
	}{
		{"entering the root file system", func() error { return unix.Chdir(dir) }},
		{"moving the root file system to its place", func() error { return unix.Mount(".", "/", "", unix.MS_MOVE, "") }},
		{"changing root", func() error { return unix.Chroot(".") }},
		{"entering the new root", func() error { return unix.Chdir("/") }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("%s: %w", step.does, err)
		}
	}
	return fmt.Errorf("executing %s: %w", init, unix.Exec(init, os.Args, os.Environ()))
}

// empty removes all below dir that is on the file system dev.
func empty(dir string, dev uint64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			errs = append(errs, err)
			continue
		}
		if st.Dev != dev {
			continue
		}
		if e.IsDir() {
			errs = append(errs, empty(name, dev))
			if left, err := os.ReadDir(name); err == nil && len(left) > 0 {
				continue // something is mounted in it
			}
		}
		errs = append(errs, os.Remove(name))
	}
	return errors.Join(errs...)
}
