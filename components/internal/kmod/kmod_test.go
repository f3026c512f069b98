package kmod

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", true},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF5d00001000sv00001AF4sd00000001bc02sc00i00", false},
		{"virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"acpi*:PNP0C0C:*", "acpi:PNP0C0C:", true},
		{"acpi*:PNP0C0C:*", "acpi:PNP0C0E:PNP0C0C:", true},
		{"cpu:type:x86,ven*fam*mod*:feature:*0099*", "cpu:type:x86,ven0000fam0006mod000D:feature:,0000,0099,009A", true},
		{"usb:v1D6Bp000[0-3]d*", "usb:v1D6Bp0002d0601", true},
		{"usb:v1D6Bp000[0-3]d*", "usb:v1D6Bp0004d0601", false},
		{"x[!a-c]", "xd", true},
		{"x[!a-c]", "xb", false},
		{"of:N*T*Cns16550*", "of:NserialT(null)Cns16550a/b", true},
		{"fs_ext4", normal("fs-ext4"), true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"abc", "abcd", false},
		{"abc[", "abcd", false},
		{"", "", true},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
	if got := normal("a-b[0-9]c-d"); got != "a_b[0-9]c_d" {
		t.Errorf("normal gave %q", got)
	}
}

// testIndex is a small kernel: a card's driver over three helpers, and a file
// system with a checksum that it likes to have before.
func testIndex(t *testing.T, params string) *Index {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep": `kernel/net/virtio-net.ko: kernel/net/failover.ko kernel/virtio.ko kernel/ring.ko
kernel/net/failover.ko: kernel/ring.ko
kernel/virtio.ko: kernel/ring.ko
kernel/ring.ko:
kernel/fs/ext4.ko.xz: kernel/jbd2.ko
kernel/jbd2.ko:
kernel/crc32c-intel.ko:
kernel/late.ko: kernel/ring.ko
`,
		"modules.alias":   "# Aliases\nalias virtio:d00000001v* virtio_net\nalias fs-ext4 ext4\nalias crc32c crc32c_intel\nalias virtio:d00000001v* late\n",
		"modules.softdep": "# Soft\nsoftdep ext4 pre: crc32c missing post: late\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x, err := open(dir, cmdline.Parse(params))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestPrune(t *testing.T) {
	x := testIndex(t, "")
	for _, name := range []string{"ring.ko", "jbd2.ko"} {
		file := filepath.Join(x.dir, "kernel", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x.Prune()
	l := NewLoader(x)
	var inserted []string
	l.insert = func(file, _ string) error {
		inserted = append(inserted, filepath.Base(file))
		return nil
	}
	for _, name := range []string{"virtio:d00000001v00001AF4", "ring", "ext4"} {
		if err := l.Load(name); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"ring.ko"}; !slices.Equal(inserted, want) {
		t.Errorf("loaded %q, want %q", inserted, want)
	}
}

func TestOrder(t *testing.T) {
	x := testIndex(t, "")
	for module, want := range map[string]string{
		"virtio_net": "kernel/ring.ko kernel/virtio.ko kernel/net/failover.ko kernel/net/virtio-net.ko",
		"ext4":       "kernel/crc32c-intel.ko kernel/jbd2.ko kernel/fs/ext4.ko.xz kernel/ring.ko kernel/late.ko",
		"unknown":    "",
	} {
		if got := strings.Join(x.order(module), " "); got != want {
			t.Errorf("order(%s) = %s, want %s", module, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	x := testIndex(t, "")
	for name, want := range map[string][]string{
		"virtio-net":                {"virtio_net"},
		"fs-ext4":                   {"ext4"},
		"virtio:d00000001v00001AF4": {"virtio_net", "late"},
		"pci:x":                     nil,
	} {
		if got := x.Find(name); !slices.Equal(got, want) {
			t.Errorf("Find(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	l := NewLoader(testIndex(t, "virtio-net.napi_tx=1 ring.size=4 ring.x modprobe.blacklist=late,other"))
	var mu sync.Mutex
	var got []string
	l.insert = func(file, parameters string) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, filepath.Base(file)+"("+parameters+")")
		if filepath.Base(file) == "failover.ko" {
			return unix.EEXIST
		}
		return nil
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := l.Load("virtio:d00000001v00001AF4"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want := "ring.ko(size=4 x) virtio.ko() failover.ko() virtio-net.ko(napi_tx=1)"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("loaded %s, want %s", s, want)
	}
	if l.Loaded() != 3 {
		t.Errorf("%d loaded, want 3", l.Loaded())
	}
	l.insert = func(string, string) error { return unix.EINVAL }
	if err := l.Load("late"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got error %v, want EINVAL", err)
	}
}

func TestParse(t *testing.T) {
	name, mode, number, ok := parseDevname("tun net/tun c10:200")
	if name != "net/tun" || mode != unix.S_IFCHR|0o600 || number != unix.Mkdev(10, 200) || !ok {
		t.Errorf("got %q %o %d %v", name, mode, number, ok)
	}
	if _, _, _, ok := parseDevname("tun net/tun x10:200"); ok {
		t.Error("a node of an unknown type was taken")
	}
	e := parseEvent("add@/devices/x\x00ACTION=add\x00SUBSYSTEM=input\x00DEVNAME=input/event0\x00")
	if e["ACTION"] != "add" || e["DEVNAME"] != "input/event0" || len(e) != 3 {
		t.Errorf("got %v", e)
	}
}

func TestColdplug(t *testing.T) {
	sys := t.TempDir()
	device := func(name, modalias string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(sys, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sys, name, "modalias"), []byte(modalias+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	device("bus/virtio/devices/virtio0", "virtio:d00000001v00001AF4")
	device("bus/virtio/devices/virtio1", "virtio:d00000001v00001AF4")
	device("bus/platform/devices/none", "")
	device("devices/system/cpu", "cpu:type:x86")
	x := testIndex(t, "")
	x.aliases = append(x.aliases, alias{"cpu:type:x86", "crc32c_intel"}, alias{"input:b*", "jbd2"})
	l := NewLoader(x)
	var mu sync.Mutex
	got := map[string]int{}
	l.insert = func(file, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		got[moduleName(file)]++
		if moduleName(file) == "late" { // brings a device of its own
			device("class/input/input0", "input:b0019")
		}
		return nil
	}
	if err := l.Coldplug(sys); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"ring": 1, "virtio": 1, "failover": 1, "virtio_net": 1, "late": 1, "jbd2": 1}
	if !maps.Equal(got, want) {
		t.Errorf("loaded %v, want %v", got, want)
	}
	if err := l.Processor(sys); err != nil {
		t.Fatal(err)
	}
	if got["crc32c_intel"] != 1 {
		t.Errorf("the processor's modules were loaded so: %v", got)
	}
}
