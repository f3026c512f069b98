package newroot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// loop makes a device of a partition that has none, and returns its path.
func loop(d *Device) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("finding a free loop device: %w", err)
	}
	path := fmt.Sprintf("/dev/loop%d", number)
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	back, err := os.Open(d.Path)
	if err != nil {
		device.Close()
		return "", err
	}
	defer back.Close()
	config := &unix.LoopConfig{Fd: uint32(back.Fd())}
	config.Info.Offset, config.Info.Sizelimit = uint64(d.Off), uint64(d.Size)
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY
	if err := unix.IoctlLoopConfigure(int(device.Fd()), config); err != nil {
		device.Close()
		return "", fmt.Errorf("setting up %s: %w", path, err)
	}
	return path, device.Close()
}
