package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// newRoot is where the copy of the root file system grows.
const newRoot = "/mnt"

// copyRoot copies an initramfs to a tmpfs, file by file, and goes over to that.
// On a disk there is nothing to do.
func copyRoot() error {
	var root unix.Statfs_t
	if err := unix.Statfs("/", &root); err != nil || root.Type != unix.TMPFS_MAGIC && root.Type != unix.RAMFS_MAGIC {
		return err
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("rootfs", newRoot, "tmpfs", 0, ""); err != nil {
		return err
	}
	if err := filepath.WalkDir("/", copyEntry); err != nil {
		return err
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if "/"+e.Name() != newRoot {
			_ = os.RemoveAll("/" + e.Name()) // it goes with what is left otherwise
		}
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

func copyEntry(name string, d fs.DirEntry, err error) error {
	if err != nil || name == "/" {
		return err
	}
	to := filepath.Join(newRoot, name)
	if name == newRoot {
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		return filepath.SkipDir
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	switch info.Mode().Type() {
	case fs.ModeDir:
		err = os.Mkdir(to, 0o755)
	case 0:
		err = copyFile(name, to)
	case fs.ModeSymlink:
		var link string
		if link, err = os.Readlink(name); err == nil {
			err = os.Symlink(link, to)
		}
	default:
		err = unix.Mknod(to, stat.Mode, int(stat.Rdev))
	}
	if err != nil {
		return err
	}
	if err := os.Lchown(to, int(stat.Uid), int(stat.Gid)); err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return err
	}
	if err := unix.Chmod(to, stat.Mode&0o7777); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// copyFile copies by a buffer of 32 KiB, and removes what it has copied.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 32<<10)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Remove(from)
}
