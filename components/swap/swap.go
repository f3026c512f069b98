package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/disk"
)

// magic ends the first page of a swap area.
const magic = "SWAPSPACE2"

// header is the first page of a swap area (union swap_header of Linux's
// include/linux/swap.h) of size bytes; uuid has 16.
func header(size int64, page int, uuid []byte) []byte {
	b := make([]byte, page)
	binary.NativeEndian.PutUint32(b[1024:], 1)                          // version
	binary.NativeEndian.PutUint32(b[1028:], uint32(size/int64(page))-1) // last_page
	copy(b[1036:], uuid)
	copy(b[page-len(magic):], magic)
	return b
}

// write makes a swap area of the first size bytes of f.
func write(f *os.File, size int64) error {
	page := os.Getpagesize()
	if size < int64(10*page) || size/int64(page) > 1<<32-1 {
		return fmt.Errorf("%s is no size for swap", disk.Bytes(size))
	}
	uuid := make([]byte, 16)
	rand.Read(uuid)
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80 // version 4 (RFC 9562, 5.4)
	if _, err := f.WriteAt(header(size, page, uuid), 0); err != nil {
		return err
	}
	return f.Sync()
}

// on tells the kernel to use an area. Those with a priority of 0 or more are
// used before those without, which is -1 (swapon(2)).
func on(path string, priority int) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	flags := 0
	if priority >= 0 {
		flags = 0x8000 | priority // SWAP_FLAG_PREFER
	}
	_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(name)), uintptr(flags), 0)
	if errno != 0 {
		return fmt.Errorf("swapon: %w", errno)
	}
	fmt.Printf("swap: on: %s\n", path)
	return nil
}

// file makes a swap file, if it is not there, and uses it.
func file(path string, size int64) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is in memory, where swap cannot be: mount a disk there before, or use -zram", dir)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f, size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return on(path, -1)
}

// fill gives f its size and header. A file that has something else in it stays.
func fill(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		end := make([]byte, len(magic))
		if _, err := f.ReadAt(end, int64(os.Getpagesize()-len(magic))); err != nil || !bytes.Equal(end, []byte(magic)) {
			return errors.New("this is a file already, and not for swap; it is left alone")
		}
	}
	size -= size % int64(os.Getpagesize())
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	// It must have no holes.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return errors.Join(fmt.Errorf("reserving %s: %w", disk.Bytes(size), err), os.Remove(f.Name()))
	}
	return write(f, size)
}

// device uses a device of its own, which was empty or has been for swap.
func device(o options) error {
	found, err := disk.Find(o.device, o.timeout)
	if err != nil {
		return err
	}
	if !found.Empty() && found.Type != "swap" && !o.force {
		return fmt.Errorf("this is not empty, and left alone: %s", found)
	}
	f, err := os.OpenFile(found.Path, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	// The header is new each time: a machine of another page size may have made it.
	err = write(f, found.Size)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", found.Path, err)
	}
	return on(found.Path, -1)
}

// zram makes a device of compressed memory and uses it, before any disk.
func zram(size int64) error {
	name, err := unused("/sys")
	if err != nil {
		return err
	}
	dir := filepath.Join("/sys/block", name)
	// The kernel's own choice may be a module that is not there; if this one is
	// not, the next step tells.
	_ = os.WriteFile(filepath.Join(dir, "comp_algorithm"), []byte("zstd"), 0)
	if err := os.WriteFile(filepath.Join(dir, "disksize"), strconv.AppendInt(nil, size, 10), 0); err != nil {
		return fmt.Errorf("sizing %s: %w", name, err)
	}
	path := "/dev/" + name
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f, size), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return on(path, 100)
}

// unused is the name of a zram device that nobody has sized, "zram0"; it is
// made if there is none (Linux, admin-guide/blockdev/zram.rst).
func unused(sys string) (string, error) {
	sizes, err := filepath.Glob(filepath.Join(sys, "block/zram*/disksize"))
	if err != nil {
		return "", err
	}
	for _, name := range sizes {
		if text, _ := os.ReadFile(name); strings.TrimSpace(string(text)) == "0" {
			return filepath.Base(filepath.Dir(name)), nil
		}
	}
	number, err := os.ReadFile(filepath.Join(sys, "class/zram-control/hot_add")) // reading adds one
	if os.IsNotExist(err) {
		return "", errors.New("-zram: the kernel has no zram yet: put a line zram into /etc/modules-load.d/zram.conf, or run modprobe zram before")
	}
	if err != nil {
		return "", fmt.Errorf("adding a zram device: %w", err)
	}
	return "zram" + strings.TrimSpace(string(number)), nil
}
