// Package power turns the machine off, and knows who may ask for it.
package power

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

// Action is how the machine goes down.
type Action int

// The actions, as reboot(2) has them.
const (
	Off Action = iota
	Reboot
	Halt
)

type how struct {
	name    string // of the program that asks for it
	says    string
	command int
	signal  syscall.Signal // asks the first process for it
}

var actions = map[Action]how{
	Off:    {"poweroff", "powering off", unix.LINUX_REBOOT_CMD_POWER_OFF, unix.SIGUSR2},
	Reboot: {"reboot", "rebooting", unix.LINUX_REBOOT_CMD_RESTART, unix.SIGTERM},
	Halt:   {"halt", "halting", unix.LINUX_REBOOT_CMD_HALT, unix.SIGUSR1},
}

// rtmin is SIGRTMIN as programs count: the C library keeps the first two.
const rtmin = 34

// Signals are the signals to the first process that ask for an action: those of
// busybox's init, and those of systemd. SIGINT is the kernel's Ctrl-Alt-Del.
var Signals = map[os.Signal]Action{
	unix.SIGUSR2:              Off,
	syscall.Signal(rtmin + 4): Off,
	unix.SIGPWR:               Off,
	unix.SIGTERM:              Reboot,
	unix.SIGINT:               Reboot,
	syscall.Signal(rtmin + 5): Reboot,
	unix.SIGUSR1:              Halt,
	syscall.Signal(rtmin + 3): Halt,
}

// String is what the machine is doing then: "powering off".
func (a Action) String() string { return actions[a].says }

// Ask asks the first process for the action of that name: "poweroff", "reboot",
// "halt". It tells whether there is such an action.
func Ask(name string) (bool, error) {
	for _, h := range actions {
		if h.name == name {
			return true, unix.Kill(1, h.signal)
		}
	}
	return false, nil
}

// CatchKeys has the kernel signal Ctrl-Alt-Del to the first process, which
// otherwise reboots at once.
func CatchKeys() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("taking over ctrl-alt-del: %w", err)
	}
	return nil
}

// Now writes out what is not on the disks yet and takes the machine down. It
// returns only if the kernel refuses.
func Now(a Action) error {
	unix.Sync()
	unmount := unmountAll()
	unix.Sync()
	if err := unix.Reboot(actions[a].command); err != nil {
		return errors.Join(unmount, fmt.Errorf("%v: %w", a, err))
	}
	return nil
}

// kept are the kernel's own file systems, and what they stand on.
var kept = []string{"/", "/proc", "/sys", "/dev"}

// unmountAll unmounts what is mounted, the last first. What is still in use is
// made read-only, so that a disk is left clean.
func unmountAll() error {
	points, err := mnt.Points()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range slices.Backward(points) {
		if slices.Contains(kept, p) || unix.Unmount(p, 0) == nil {
			continue
		}
		if err := unix.Mount("", p, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}
