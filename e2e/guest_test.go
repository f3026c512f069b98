package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// boot builds a manifest and boots it until it powers off by itself.
func boot(t *testing.T, e env, manifest string, args ...string) string {
	t.Helper()
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, manifest)
	base := strings.TrimSuffix(filepath.Base(manifest), ".yml")
	console := guest(t, e, append([]string{filepath.Join(out, base)}, args...)...)
	t.Logf("the console:\n%s", console)
	return console
}

// guest runs lkx run and returns the console. A guest that the emulator brought
// to a halt is booted once more.
func guest(t *testing.T, e env, args ...string) string {
	t.Helper()
	args = append([]string{"run", "--timeout", "90s"}, args...)
	console, err := run(t, e.lkx, args...)
	if err != nil && stalled(console) {
		t.Logf("once more, the emulator stalled:\n%s", console)
		console, err = run(t, e.lkx, args...)
	}
	if err != nil {
		t.Fatalf("lkx %s: %v\n%s", strings.Join(args, " "), err, console)
	}
	return console
}

// stalls are the consoles of guests that QEMU brought to a halt: on a busy machine
// its emulation now and then is late with interrupts, or loses them. The kernel
// then waits for ever, and says so; says that its timer does not work; or has
// stopped before it or the init said anything.
var stalls = regexp.MustCompile(`rcu_preempt kthread starved|IO-APIC \+ timer doesn't work|^$|^lkx: the (console never showed|guest is not off)`)

func stalled(console string) bool { return stalls.MatchString(console) }

// group is the first group of the first match, which must be there.
func group(t *testing.T, out, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("nothing like %q on the console", pattern)
	}
	return m[1]
}

// TestGuest boots a system that looks at itself.
func TestGuest(t *testing.T) {
	e := setup(t)
	out := boot(t, e, "testdata/guest.yml")
	contains(t, out,
		"[000-first] onboot one", "[000-first] motd of the system", "[000-first] overlay writable",
		"[001-second] onboot two", "container root is read-only", "system root is read-only", "loopback up", "127.0.0.1       localhost",
		"[000-first] interface is inside", "[001-second] peer is outside", "[001-second] namespace is bound",
		"probe starts: pid 1 host probe-host", "[probe] probe root is read-only", "probe files: 512", "NoNewPrivs: 1",
		"memory limit: 33554432 pids: 20",
		"lkx: service finishes: finished",
		"lkx: service probe: exited with status 137; restart 1 in 100ms", "[watcher] probe is back", "[watcher] 2", "[watcher] containerd is on the mount of onboot",
		"[000-last] onshutdown ran", "lkx: powering off now",
	)
	if strings.Contains(out, "leftover") {
		t.Error("the directory that the root was moved from is still there")
	}
	if strings.Index(out, "onboot two") < strings.Index(out, "onboot one") || strings.Index(out, "probe starts") < strings.Index(out, "onboot two") {
		t.Error("onboot containers and services are out of order")
	}
	// CAP_CHOWN is bit 0 and CAP_NET_BIND_SERVICE bit 10 (capabilities(7)).
	for _, set := range []string{"CapEff", "CapBnd"} {
		if got := group(t, out, set+`: ([0-9a-f]+)`); got != "0000000000000401" {
			t.Errorf("%s is %s", set, got)
		}
	}
	probe := group(t, out, `probe ns: (\S+ \S+)`)
	initNS := group(t, out, `init ns: (\S+ \S+)`)
	for i := range 2 {
		if strings.Fields(probe)[i] == strings.Fields(initNS)[i] {
			t.Errorf("the service shares a namespace with init: %s", probe)
		}
	}
	if got := group(t, out, `probe's cgroup: 0::(\S+)`); got != "/services/probe" {
		t.Errorf("the service's cgroup is %s", got)
	}
	if opts := group(t, out, `root of init: \S+ / \S+ (\S+)`); !strings.HasPrefix(opts, "ro") {
		t.Errorf("the root is mounted %s", opts)
	}
}

// bootHead begins a manifest; its kernel command line is still to be ended.
const bootHead = `
kernel:
  image: ghcr.io/lkx-os/kernel:0.1
  cmdline: console=ttyS0 quiet lkx.log=console %s
init: [ghcr.io/lkx-os/init:0.1, ghcr.io/lkx-os/runc:0.1, ghcr.io/lkx-os/containerd:0.1]
`

const failing = bootHead + `
onboot:
  - name: breaks
    image: ghcr.io/lkx-os/busybox:0.1
    command: [sh, -c, "echo about to break; exit 3"]
  - name: after
    image: ghcr.io/lkx-os/busybox:0.1
    command: [sh, -c, "echo after the break"]
services:
  - name: ends
    image: ghcr.io/lkx-os/busybox:0.1
    pid: host
    capabilities: [CAP_KILL]
    command: [sh, -c, "echo service runs; kill -USR2 1; sleep 100"]
`

// TestOnbootFails boots systems whose first container fails.
func TestOnbootFails(t *testing.T) {
	e := setup(t)
	t.Run("poweroff", func(t *testing.T) {
		out := boot(t, e, write(t, "fail.yml", fmt.Sprintf(failing, "lkx.onboot=poweroff")))
		contains(t, out, "about to break", "000-breaks: exited with status 3", "powering off now")
		if strings.Contains(out, "service runs") || strings.Contains(out, "after the break") {
			t.Error("the boot went on")
		}
	})
	t.Run("continue", func(t *testing.T) {
		out := boot(t, e, write(t, "fail.yml", fmt.Sprintf(failing, "lkx.onboot=continue")))
		contains(t, out, "000-breaks: exited with status 3", "after the break", "service runs", "powering off now")
	})
	t.Run("stop", func(t *testing.T) {
		out := t.TempDir()
		manifest := write(t, "fail.yml", fmt.Sprintf(failing, ""))
		ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, manifest)
		// The power button works although the boot has stopped.
		console := guest(t, e, "--expect", "lkx.onboot=continue", filepath.Join(out, "fail"))
		contains(t, console, "000-breaks failed; the boot stops here", "powering off now")
		// A kernel that panics before it has any driver is not waited for.
		console = fails(t, e.lkx, "run", "--timeout", "60s", "--expect", "nothing", "--append", "rdinit=/none", filepath.Join(out, "fail"))
		contains(t, console, "Unable to mount root fs", "the console never showed \"nothing\": the guest's kernel panicked")
	})
}

// TestSupervision boots services that wait for, check and restart each other.
func TestSupervision(t *testing.T) {
	e := setup(t)
	out := boot(t, e, "testdata/supervise.yml")
	contains(t, out,
		"[000-writes] read-only volume", "[000-writes] /layout:", "oci-layout", "[sees] from onboot",
		"[sees] core_pattern is safe", "[sees] NoNewPrivs:\t1",
		"[db] db listens", "lkx: service web: exited with status 0; restart 1 in 100ms",
		"lkx: service sick: unhealthy:", "lkx: service fails: exited with status 3; not started again, as restart: no says",
		"lkx: powering off now",
	)
	if strings.Index(out, "web starts") < strings.Index(out, "db listens") {
		t.Error("web started before db was ready")
	}
}
