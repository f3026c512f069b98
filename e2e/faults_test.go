package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFaults boots a system in which much is wrong: no disk, no network, broken
// containers, and one that fills /var. The rest of it runs, and the console
// names what is wrong.
func TestFaults(t *testing.T) {
	e := setup(t)
	out := strings.ReplaceAll(boot(t, e, "testdata/faults.yml", "--timeout", "4m"), "\r", "")
	contains(t, out,
		"format: no empty disk; there is no disk at all", "mount: no LABEL=data after 1s; there are no block devices at all",
		"metadata: aws: not here: ", "network is unreachable", "interface eth0: finding the link: Link not found",
		"lkx: onboot 004-broken: reading /containers/onboot/004-broken/runtime.json: ",
		"lkx: service badruntime: reading /containers/services/badruntime/runtime.json: unexpected end of JSON input; restart 1 in 100ms",
		"lkx: service badconfig: reading /containers/services/badconfig/config.json: ", "lkx: service never: waiting for badconfig (10s)",
		`lkx: service nocommand: making the container's process: exec: "/no/such/program": stat /no/such/program: no such file or directory; restart 1 in 100ms`,
		"lkx: service nosource: making the container's process: failed to fulfil mount request: open /no/such/directory: no such file or directory; restart 1",
		"lkx: /var/small is full, all 2 MiB: what is written there is lost; the most is in /var/small/x (2 MiB)",
		"lkx: /var is full, all ", "the most is in /var/lib/heap (", "lkx: /var is not full any more: ",
		"lkx: powering off now",
	)
	full := between(t, out, "/var is full", "fills: removed")
	contains(t, full, "[talks] talks: ", "[again] again: ", " 100% ")
	// What was said before and after it was full is in the log, within the
	// seconds that the system ran.
	if n := number(t, out, `fills: (\d+) /v/log/talks.out.log`); n < 10 {
		t.Errorf("the log has %d lines", n)
	}
	// At first 100 ms, then twice that each time: 2 m would be 11.
	for _, name := range []string{"crash", "nocommand", "nosource", "badruntime", "badconfig"} {
		n := len(regexp.MustCompile(`(?m)^lkx: service `+name+`: .*; restart \d+ in`).FindAllString(out, -1))
		if n < 3 || n > 12 {
			t.Errorf("%s was started again %d times", name, n)
		}
	}
}

// between is the part of out from one text to another, which must be there.
func between(t *testing.T, out, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(out, from)
	part, _, ended := strings.Cut(rest, to)
	if !found || !ended {
		t.Fatalf("the console has no %q before %q", from, to)
	}
	return part
}

const lacking = `
kernel:
  image: ghcr.io/lkx-os/kernel:0.1
  cmdline: console=ttyS0 quiet lkx.log=console lkx.onboot=continue
init: [ghcr.io/lkx-os/init:0.1, ghcr.io/lkx-os/%s:0.1]
onboot: [{name: metadata, image: "ghcr.io/lkx-os/metadata:0.1"}]
services: [{name: hello, image: "ghcr.io/lkx-os/hello:0.1"}]
`

// TestRareFaults boots systems that lack what no system can do without, each in
// a guest of its own.
func TestRareFaults(t *testing.T) {
	e := setup(t)
	if os.Getenv("LKX_TEST_FULL") == "" {
		t.Skip("LKX_TEST_FULL is not set")
	}
	build := func(has string) string {
		out := t.TempDir()
		manifest := write(t, "os.yml", fmt.Sprintf(lacking, has))
		ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, manifest)
		return filepath.Join(out, "os")
	}
	withRunc, withContainerd := build("runc"), build("containerd")

	t.Run("no containerd but half a CD", func(t *testing.T) {
		out := guest(t, e, "--disk", halfCD(t)+",ro,format=raw", "--expect", "no container can run", withRunc)
		contains(t, out,
			// Where the CD ends, the kernel reads zeros.
			"metadata: cidata: user data: cloud-config: yaml: control characters are not allowed", "lkx: onboot 000-metadata: exited with status 1",
			"lkx: no container can run: stat /usr/bin/containerd: no such file or directory; add an image with containerd to the manifest's init")
	})
	t.Run("no runc", func(t *testing.T) {
		out := guest(t, e, "--expect", "going on", withContainerd)
		contains(t, out, "lkx: no container can run: stat /usr/bin/runc: no such file or directory; add an image with runc to the manifest's init",
			"lkx: onboot 000-metadata: running it: ")
	})
	t.Run("no root", func(t *testing.T) {
		out := guest(t, e, "--append", "lkx.root=LABEL=missing lkx.rootwait=2 lkx.onboot=poweroff", withRunc)
		contains(t, out, "lkx: boot stopped: the root file system LABEL=missing was not found in 2s; there is no block device", "powering off now")
	})
	t.Run("nobody reads", func(t *testing.T) {
		ok(t, "sh", "-c", e.lkx+" run --expect never --timeout 60s "+withContainerd+" | head -n 1")
		for end := time.Now().Add(20 * time.Second); running(t, withContainerd+"-kernel"); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("QEMU runs on")
			}
		}
	})
	t.Run("little memory", func(t *testing.T) {
		out := fails(t, e.lkx, "run", "--mem", "96M", "--timeout", "20s", withContainerd)
		contains(t, out, "lkx: warning: 96 MiB of memory may be too little: the initrd of ", "try --mem ", "the guest is not off after 20s")
	})
}

// running tells whether a process has arg among its arguments.
func running(t *testing.T, arg string) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(lines, func(name string) bool {
		text, _ := os.ReadFile(name) // of one that has gone there is none
		return slices.Contains(strings.Split(string(text), "\x00"), arg)
	})
}

// halfCD is a CD with metadata, of which the end is missing, and with it half of
// its user data.
func halfCD(t *testing.T) string {
	t.Helper()
	dir, iso := t.TempDir(), filepath.Join(t.TempDir(), "half.iso")
	if err := os.WriteFile(filepath.Join(dir, "user-data"), []byte("#cloud-config\n"+strings.Repeat("# text\n", 10<<10)), 0o644); err != nil {
		t.Fatal(err)
	}
	ok(t, "xorriso", "-as", "mkisofs", "-quiet", "-no-pad", "-V", "cidata", "-R", "-o", iso, dir)
	info, err := os.Stat(iso)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(iso, info.Size()-32<<10); err != nil {
		t.Fatal(err)
	}
	return iso
}
