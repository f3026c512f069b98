// Command init stands in for LinuxKit's init in tests and in comparisons: it
// does what that one does, in the same order and in the same way, as
// docs/rootfs-layout.md has it. It is not LinuxKit's program.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	// One that comes early must not be lost among those of children.
	asked, children := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	signal.Notify(children, unix.SIGCHLD)
	check("copying the root file system", copyRoot())
	check("setting PATH", os.Setenv("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")) // as busybox' init does
	mounts()
	coldplug()
	machine()
	programs("/etc/init.d")
	down(await(asked, children))
}

// check says what went wrong, and goes on.
func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "stand-in init: %s: %v\n", what, err)
	}
}

func mounts() {
	const usual = unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	for _, m := range []struct {
		source, dir, fs string
		flags           uintptr
		data            string
	}{
		{"proc", "/proc", "proc", usual, ""},
		{"", "/", "", unix.MS_REMOUNT | unix.MS_RDONLY, ""},
		{"tmpfs", "/run", "tmpfs", usual, "size=10%,mode=755"},
		{"tmpfs", "/tmp", "tmpfs", usual, "size=10%,mode=1777"},
		{"tmpfs", "/var", "tmpfs", usual, "size=50%,mode=755"},
		{"dev", "/dev", "devtmpfs", unix.MS_NOSUID, "size=10m,mode=755"},
		{"mqueue", "/dev/mqueue", "mqueue", usual, ""},
		{"shm", "/dev/shm", "tmpfs", usual, "mode=1777"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620"},
		{"sysfs", "/sys", "sysfs", usual, ""},
		{"securityfs", "/sys/kernel/security", "securityfs", usual, ""},
		{"debugfs", "/sys/kernel/debug", "debugfs", usual, ""},
		{"bpffs", "/sys/fs/bpf", "bpf", unix.MS_NODEV, ""},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", usual, ""},
		{"", "/", "", unix.MS_REC | unix.MS_SHARED, ""},
	} {
		if m.dir != "/" {
			_ = os.Mkdir(m.dir, 0o755) // most are there
		}
		if err := unix.Mount(m.source, m.dir, m.fs, m.flags, m.data); err != nil && !strings.HasPrefix(m.dir, "/sys/") {
			check("mounting "+m.dir, err)
		}
	}
	for _, dir := range []string{"cache", "empty", "lib", "local", "lock", "log", "opt", "spool", "tmp"} {
		check("making a directory", os.Mkdir("/var/"+dir, 0o755))
	}
	check("linking", os.Symlink("/run", "/var/run"))
	check("linking", os.Symlink("/proc/self/fd", "/dev/fd"))
	console, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
	check("opening the console", err)
	for fd := range 3 {
		check("taking the console", unix.Dup3(int(console.Fd()), fd, 0))
	}
}

// coldplug runs modprobe for every device, one after the other.
func coldplug() {
	run("/sbin/mdev", "-s")
	names, _ := filepath.Glob("/sys/bus/*/devices/*/modalias") // the pattern is right
	for _, name := range names {
		if alias, err := os.ReadFile(name); err == nil {
			run("/sbin/modprobe", "-abq", strings.TrimSpace(string(alias)))
		}
	}
}

// run runs a program whose failure is none of ours.
func run(name string, args ...string) { _ = exec.Command(name, args...).Run() }

func machine() {
	run("/sbin/hwclock", "--hctosys", "--utc")
	run("/sbin/ip", "addr", "add", "127.0.0.1/8", "dev", "lo", "brd", "+", "scope", "host")
	run("/sbin/ip", "route", "add", "127.0.0.0/8", "dev", "lo", "scope", "host")
	run("/sbin/ip", "link", "set", "lo", "up")
	check("limits", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}))
	check("limits", unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
	name := "linuxkit"
	if mac, err := os.ReadFile("/sys/class/net/eth0/address"); err == nil {
		name += "-" + strings.ReplaceAll(strings.TrimSpace(string(mac)), ":", "")
	}
	if own, err := os.ReadFile("/etc/hostname"); err == nil {
		name = strings.TrimSpace(string(own))
	}
	check("naming the host", unix.Sethostname([]byte(name)))
	if link, err := os.Readlink("/etc/resolv.conf"); err == nil {
		check("resolv.conf", os.MkdirAll(filepath.Dir(link), 0o755))
		check("resolv.conf", os.WriteFile(link, nil, 0o644))
	}
}

// programs runs the regular files of dir, and those that links lead to, in the
// order of their names.
func programs(dir string) {
	entries, err := os.ReadDir(dir)
	check("listing programs", err)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			check("passing over a program", err)
			continue
		}
		cmd := exec.Command(name)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Run() // that it failed is passed over
	}
}

// await reaps orphans until a signal asks the machine to go down.
func await(asked, children <-chan os.Signal) os.Signal {
	for {
		select {
		case s := <-asked:
			return s
		case <-children:
		}
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// down takes the machine down as the signals of busybox' init say.
func down(asked os.Signal) {
	programs("/etc/shutdown.d")
	_ = unix.Kill(-1, unix.SIGTERM)
	time.Sleep(5 * time.Second)
	_ = unix.Kill(-1, unix.SIGKILL)
	unix.Sync()
	how := map[os.Signal]int{unix.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART, unix.SIGUSR1: unix.LINUX_REBOOT_CMD_HALT}[asked]
	if how == 0 {
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	check("going down", unix.Reboot(how))
}
