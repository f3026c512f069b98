package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// alone runs the test in a network of its own, where it can have the ports 53
// and 123, and be the resolver that QEMU's user network asks. It is false for
// the test outside, which has nothing left to do.
func alone(t *testing.T) bool {
	t.Helper()
	const inside = "LKX_TEST_ALONE"
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in a network of its own:\n%s", out)
	if err != nil {
		t.Fatalf("in a network of its own: %v", err)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatal("the test did not run there")
	}
	return false
}

// host makes this network the one of the test's servers: names are asked of
// 127.0.0.1, which guests see as 10.0.2.2, and as resolver at 10.0.2.3.
func host(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatalf("bringing up the loopback interface: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatalf("making mounts private: %v", err)
	}
	resolver := write(t, "resolv.conf", "nameserver 127.0.0.1\n")
	if err := unix.Mount(resolver, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("binding /etc/resolv.conf: %v", err)
	}
}

// answer serves datagrams on a port of 127.0.0.1 until the test ends.
func answer(t *testing.T, port int, reply func(question []byte) []byte) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := reply(buf[:n]); out != nil {
				_, _ = conn.WriteTo(out, from) // who asked asks again
			}
		}
	}()
}

// names is a DNS server (RFC 1035 section 4) that knows the addresses of some
// names, and nothing else.
func names(known map[string]netip.Addr) func([]byte) []byte {
	return func(q []byte) []byte {
		const head = 12
		end, name := head, ""
		for end < len(q) && q[end] != 0 && end+1+int(q[end]) < len(q) {
			name += string(q[end+1:end+1+int(q[end])]) + "."
			end += 1 + int(q[end])
		}
		end += 5 // the root's label, type and class
		if end > len(q) {
			return nil
		}
		out := append(bytes.Clone(q[:2]), 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
		out = append(out, q[head:end]...)
		addr, ok := known[strings.ToLower(name)]
		switch kind := binary.BigEndian.Uint16(q[end-4:]); {
		case !ok:
			out[3] |= 3 // there is no such name
		case kind == 1:
			out[7] = 1
			out = append(out, 0xc0, head, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			out = append(out, addr.AsSlice()...)
		}
		return out
	}
}

// clock is an NTP server (RFC 5905 section 7.3) whose time is off.
func clock(off time.Duration) func([]byte) []byte {
	return func(q []byte) []byte {
		if len(q) < 48 {
			return nil
		}
		now := time.Now().Add(off)
		const since1900 = 2208988800 // seconds until 1970
		stamp := binary.BigEndian.AppendUint32(nil, uint32(now.Unix()+since1900))
		stamp = binary.BigEndian.AppendUint32(stamp, uint32(uint64(now.Nanosecond())<<32/1e9))
		out := []byte{4<<3 | 4, 1, q[2], 0xec, 0, 0, 0, 0, 0, 0, 0, 0, 'T', 'E', 'S', 'T'} // version 4, server, stratum 1
		out = append(out, stamp...)                                                        // when it was set
		out = append(out, q[40:48]...)
		return append(append(out, stamp...), stamp...)
	}
}

// conversation types at a console: a text for each that shows up, in turn. After
// something was typed, what was shown before does not count.
type conversation struct {
	shown bytes.Buffer
	steps []step
	from  int
	in    io.Writer
}

type step struct{ shows, types string }

func (c *conversation) Write(p []byte) (int, error) {
	n, err := c.shown.Write(p)
	for len(c.steps) > 0 {
		next := c.steps[0]
		at := bytes.Index(c.shown.Bytes()[c.from:], []byte(next.shows))
		if at < 0 {
			break
		}
		if next.types != "" {
			c.from += at + len(next.shows)
			if _, err := io.WriteString(c.in, next.types); err != nil {
				return n, err
			}
		}
		c.steps = c.steps[1:]
	}
	return n, err
}

// monitor types a command of QEMU's: ctrl-a c leads there and back.
func monitor(command string) string { return "\x01c" + command + "\n\x01c" }

// talk runs lkx run, types what the steps say, and returns the console. As with
// guest, an emulator that stalls is started once more.
func talk(t *testing.T, e env, steps []step, args ...string) string {
	t.Helper()
	var c *conversation
	for range 2 {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c = &conversation{steps: steps, in: out}
		cmd := exec.CommandContext(t.Context(), e.lkx, append([]string{"run", "--timeout", "180s"}, args...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, c, c
		err = cmd.Run()
		in.Close()
		out.Close()
		if err == nil && len(c.steps) == 0 {
			return strings.ReplaceAll(c.shown.String(), "\r", "")
		}
		if !stalled(c.shown.String()) {
			t.Fatalf("lkx run: %v; %d steps left\n%s", err, len(c.steps), &c.shown)
		}
		t.Logf("once more, the emulator stalled:\n%s", &c.shown)
	}
	t.Fatalf("the emulator stalled twice:\n%s", &c.shown)
	return ""
}

// network is a system that gets an address, asks for a name and the time, and
// makes a second network by hand.
func network() string {
	show := "for i in 1 2 3; do nslookup -type=a only-here.test && break; done; date -u +'it is %Y-%m-%d'; cat /etc/resolv.conf"
	return fmt.Sprintf(bootHead, "") + "onboot:\n" +
		onboot("dhcpcd", "dhcpcd", "/sbin/dhcpcd", "--nobackground", "-f", "/dhcpcd.conf", "-1") +
		onboot("clock", "ntp", "/usr/sbin/chronyd", "-U", "-q", "-t", "60", "cmdport 0", "server 10.0.2.2 iburst") +
		onboot("ask", "busybox", "sh", "-c", show) + "    binds: [\"/etc/resolv.conf:/etc/resolv.conf:ro\"]\n" +
		onboot("lan", "ip", "ip", "-batch", "/etc/ip/lan") + "    binds.add: [\"/etc/ip:/etc/ip:ro\"]\n" +
		onboot("show", "ip", "ip", "route", "get", "198.51.100.7") +
		onboot("nft", "ip", "nft", "add table inet lkx; list ruleset") +
		onboot("wg", "ip", "wg", "show", "wg0", "listen-port") +
		onboot("absent", "dhcpcd", "/sbin/dhcpcd", "-1", "-optional", "-t", "1", "eth7") + `
services:
  - name: dhcpcd
    image: ghcr.io/lkx-os/dhcpcd:0.1
  - name: ntp
    image: ghcr.io/lkx-os/ntp:0.1
    healthcheck: {exec: [/usr/bin/chronyc, waitsync, "1"], startPeriod: 60s}
  - name: dated
    image: ghcr.io/lkx-os/busybox:0.1
    after: [ntp]
    command: [echo, the clock is right]
files:
  - path: etc/ip/lan
    contents: |
      link add lan0 type dummy
      address add 192.0.2.5/24 dev lan0
      link set lan0 up
      route add 198.51.100.0/24 via 192.0.2.1
      link add wg0 type wireguard
`
}

// TestNetwork boots a system on a network whose servers are this test's, and
// pulls its cable out and puts it in again.
func TestNetwork(t *testing.T) {
	e := setup(t)
	if !alone(t) {
		return
	}
	host(t)
	only := netip.AddrFrom4([4]byte{203, 0, 113, byte(rand.IntN(256))})
	answer(t, 53, names(map[string]netip.Addr{"only-here.test.": only, "2.debian.pool.ntp.org.": netip.MustParseAddr("10.0.2.2")}))
	const off = 400 * 24 * time.Hour
	answer(t, 123, clock(off))
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, write(t, "net.yml", network()))

	const lease = "dhcpcd: eth0: 10.0.2.15/24 gateway 10.0.2.2 dns 10.0.2.3, lease 24h"
	before := time.Now().Add(off)
	console := talk(t, e, []step{
		{"[dhcpcd] " + lease, ""},
		{"[dated] the clock is right", monitor("set_link net off")},
		{"[dhcpcd] dhcpcd: eth0: the link is down", monitor("set_link net on")},
		{"[dhcpcd] " + lease, monitor("system_powerdown")},
		{"lkx: powering off now", ""},
	}, filepath.Join(out, "net"))
	t.Logf("the console:\n%s", console)
	contains(t, console,
		"[000-dhcpcd] "+lease, "[000-dhcpcd] dhcpcd: eth0: fec0::5054:ff:fe12:3456/64 gateway fe80::2",
		"System clock wrong by 345", "[ntp] ", "Selected source 10.0.2.2 (2.debian.pool.ntp.org)", only.String(), "nameserver 10.0.2.3",
		"198.51.100.7 via 192.0.2.1 dev lan0 src 192.0.2.5", "table inet lkx {",
		"[007-absent] dhcpcd: no network after 1s: eth7: there is no such interface",
	)
	day := group(t, console, `it is ([0-9-]+)`)
	if first, last := before.UTC().Format(time.DateOnly), time.Now().Add(off).UTC().Format(time.DateOnly); day < first || day > last {
		t.Errorf("the guest says that it is %s; on the server it is %s", day, last)
	}
}

// TestNoNetwork boots a system that has no network card. It says so, and comes
// up as far as it can.
func TestNoNetwork(t *testing.T) {
	e := setup(t)
	manifest := fmt.Sprintf(bootHead, "modprobe.blacklist=virtio_net lkx.onboot=continue") + "onboot:\n" +
		onboot("optional", "dhcpcd", "/sbin/dhcpcd", "-1", "-optional", "-timeout", "2s") +
		onboot("needed", "dhcpcd", "/sbin/dhcpcd", "-1", "-timeout", "2s") + `
services:
  - {name: hello, image: "ghcr.io/lkx-os/hello:0.1"}
  - {name: dhcpcd, image: "ghcr.io/lkx-os/dhcpcd:0.1"}
  - {name: ntp, image: "ghcr.io/lkx-os/ntp:0.1"}
`
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, write(t, "none.yml", manifest))
	console := guest(t, e, "--expect", "[dhcpcd] dhcpcd: waiting, 5s by now: there is no interface for ethernet", filepath.Join(out, "none"))
	t.Logf("the console:\n%s", console)
	contains(t, console,
		"[000-optional] dhcpcd: no network after 2s: there is no interface for ethernet",
		"[000-optional] dhcpcd: -optional: the boot goes on",
		"[001-needed] dhcpcd: no network after 2s", "lkx: onboot 001-needed: exited with status 1",
		"lkx: 3 services running", "powering off now",
	)
	if strings.Contains(console, "onboot 000-optional: exited") {
		t.Error("the optional one failed")
	}
}
