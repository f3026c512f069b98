package setup

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxFiles is how many files a process may have open.
const maxFiles = 1 << 20

// Limits lifts this process's limits, and so those of all others.
func Limits() error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: maxFiles, Max: maxFiles}); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	const infinity = ^uint64(0)
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: infinity, Max: infinity}); err != nil {
		return fmt.Errorf("raising the limit of processes: %w", err)
	}
	return nil
}

// Loopback brings up the interface lo.
func Loopback() error {
	if err := loopback(); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	return nil
}

func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// Hostname names the machine as /etc/hostname says, else after the hardware
// address of its first network interface, else "lkx".
func Hostname() error {
	text, err := os.ReadFile("/etc/hostname")
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("reading the host's name: %w", err)
	}
	name := strings.TrimSpace(string(text))
	if name == "" {
		list, _ := net.Interfaces() // none is as good as an error: there is a name all the same
		name = nameAfter(list)
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("naming the host %q: %w", name, err)
	}
	return nil
}

func nameAfter(list []net.Interface) string {
	for _, i := range list {
		if len(i.HardwareAddr) == 6 && !bytes.Equal(i.HardwareAddr, make([]byte, 6)) {
			return "lkx-" + strings.ReplaceAll(i.HardwareAddr.String(), ":", "")
		}
	}
	return "lkx"
}

// Resolver makes the file that /etc/resolv.conf links to, empty, so that a
// container can bind it before something writes it.
func Resolver() error {
	target, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return nil // a file, which says it all, or none
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join("/etc", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("making the directory of resolv.conf: %w", err)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return fmt.Errorf("making resolv.conf: %w", err)
	}
	return f.Close()
}

// Clock sets the time from the hardware clock, in UTC, if the kernel has not:
// it does so itself when the clock's driver is built in.
func Clock() error {
	if time.Now().Year() > 1970 {
		return nil
	}
	f, err := os.Open("/dev/rtc0")
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the hardware clock: %w", err)
	}
	defer f.Close()
	t, err := unix.IoctlGetRTCTime(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("reading the hardware clock: %w", err)
	}
	now := time.Date(int(t.Year)+1900, time.Month(t.Mon+1), int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
	tv := unix.NsecToTimeval(now.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	return nil
}
