package power

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/input-event-codes.h and linux/input.h.
const (
	evKey    = 0x01
	keyPower = 116
	keyMax   = 0x2ff
)

// inputEvent is struct input_event (linux/input.h) where time is 64 bits wide.
type inputEvent struct {
	Sec, Usec  int64
	Type, Code uint16
	Value      int32
}

// Watch reads the input device of that name, such as /dev/input/event0, and
// calls pressed whenever its power button is. It returns at once for a device
// without such a button, else when the device is gone.
func Watch(name string, pressed func()) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening an input device: %w", err)
	}
	defer f.Close()
	has, err := hasPowerKey(f)
	if err != nil || !has {
		return err
	}
	for {
		var e inputEvent
		if err := binary.Read(f, binary.NativeEndian, &e); err != nil {
			return nil // ENODEV: unplugged
		}
		if e.Type == evKey && e.Code == keyPower && e.Value == 1 {
			pressed()
		}
	}
}

// hasPowerKey asks the device for its keys: EVIOCGBIT(EV_KEY, length).
func hasPowerKey(f *os.File) (bool, error) {
	var bits [keyMax/8 + 1]byte
	conn, err := f.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("asking %s for its keys: %w", f.Name(), err)
	}
	var errno unix.Errno
	const read = 2 << 30
	request := read | uintptr(len(bits))<<16 | 'E'<<8 | (0x20 + evKey)
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&bits)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return false, fmt.Errorf("asking %s for its keys: %w", f.Name(), err)
	}
	return bits[keyPower/8]&(1<<(keyPower%8)) != 0, nil
}
