package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openConsole joins the standard streams to the console, which the kernel may
// not have found a node for.
func openConsole() error {
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	for i := range 3 {
		if err := unix.Dup3(fd, i, 0); err != nil && fd != i {
			return err
		}
	}
	if fd > 2 {
		return unix.Close(fd)
	}
	return nil
}

// setupHost does what a host has before its first program: a name, a loopback
// interface, room for files, a place for the resolver's configuration.
func setupHost() error {
	limits := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	return errors.Join(loopbackUp(), unix.Sethostname([]byte(hostname())), resolver(), limits)
}

// hostname is that of /etc/hostname, or one made of the first network card's address.
func hostname() string {
	if text, err := os.ReadFile("/etc/hostname"); err == nil && strings.TrimSpace(string(text)) != "" {
		return strings.TrimSpace(string(text))
	}
	cards, err := filepath.Glob("/sys/class/net/e*/address")
	if err != nil || len(cards) == 0 {
		return "lkx"
	}
	text, err := os.ReadFile(cards[0])
	if err != nil {
		return "lkx"
	}
	return "lkx-" + strings.ReplaceAll(strings.TrimSpace(string(text)), ":", "")
}

// resolver makes the file that /etc/resolv.conf links to.
func resolver() error {
	target, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return nil // a file of the user's own
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join("/etc", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// loopbackUp brings the interface lo up (netdevice(7), SIOCSIFFLAGS).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// An input event (linux/input.h) of a key that goes down.
const (
	eventSize = 24 // struct timeval, __u16 type, __u16 code, __s32 value
	evKey     = 1
	keyPower  = 116
)

// watchPowerButton sends SIGUSR2 when the power button is pressed. Every input
// device is listened to: the button says what it is only by what it sends.
func watchPowerButton(to chan<- os.Signal) {
	devices, err := filepath.Glob("/dev/input/event*")
	if err != nil {
		return
	}
	for _, name := range devices {
		go func() {
			f, err := os.Open(name)
			if err != nil {
				return
			}
			defer f.Close()
			buf := make([]byte, 16*eventSize)
			for {
				n, err := f.Read(buf)
				if err != nil {
					return
				}
				if pressed(buf[:n]) {
					to <- unix.SIGUSR2
				}
			}
		}()
	}
}

// pressed tells whether the power key goes down in a series of events.
func pressed(events []byte) bool {
	for ; len(events) >= eventSize; events = events[eventSize:] {
		e := events[16:]
		if binary.NativeEndian.Uint16(e) == evKey && binary.NativeEndian.Uint16(e[2:]) == keyPower && binary.NativeEndian.Uint32(e[4:]) == 1 {
			return true
		}
	}
	return false
}
