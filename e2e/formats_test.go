package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// groups are all formats; those of a group have files of different names.
var groups = []string{
	"kernel+initrd,tar-kernel-initrd,uki,iso,iso-efi,iso-efi-initrd,raw,raw-bios,raw-efi,qcow2,qcow2-efi,vhd,vhdx,vmdk,ova,aws,gcp,tar",
	"iso-bios,qcow2-bios,dynamic-vhd",
}

// sameDisks are those that hold what os.img holds, with QEMU's name of the format.
var sameDisks = map[string]string{"os.qcow2": "qcow2", "os.vhd": "vpc", "os.vhdx": "vhdx", "os.vmdk": "vmdk", "os.raw": "raw", "bios/os.vhd": "vpc"}

// asDisk attaches an ISO as a disk, as one that is copied to a USB stick.
var asDisk = []string{"--as", "disk"}

// boots are what is booted, with which firmware, and how it is attached.
var boots = []struct {
	quick    bool
	file     string
	firmware string
	as       []string
}{
	{true, "os.img", "bios", nil},
	{true, "os.img", "efi", nil},
	{false, "os-bios.img", "bios", nil},
	{false, "os-efi.img", "efi", nil},
	{true, "os.efi", "efi", nil},
	{true, "os.iso", "bios", nil},
	{false, "os.iso", "efi", nil},
	{false, "os.iso", "bios", asDisk},
	{true, "os.iso", "efi", asDisk},
	{false, "bios/os.iso", "bios", nil},
	{false, "bios/os.iso", "bios", asDisk},
	{false, "os-efi.iso", "efi", nil},
	{false, "os.qcow2", "efi", nil},
	{false, "os.qcow2", "bios", nil},
	{false, "os-efi.qcow2", "efi", nil},
	{false, "bios/os.qcow2", "bios", nil},
	{false, "os.vhd", "bios", nil},
	{false, "bios/os.vhd", "efi", nil},
	{false, "os.vhdx", "bios", nil},
	{true, "os.vmdk", "bios", nil},
	{false, "os.raw", "efi", nil},
	{false, "disk.raw", "bios", nil},
}

// TestFormats makes every format on both roads, has other programs look at the
// disks, and boots them.
func TestFormats(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	manifest := filepath.Join(out, "os.yml")
	text, err := os.ReadFile("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var named int
	for i, group := range groups {
		named += strings.Count(group, ",") + 1
		dir := filepath.Join(out, []string{"", "bios"}[i])
		ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(t.TempDir(), "store"), "--layout", e.images, "-f", group, "-o", dir, manifest)
		other := t.TempDir()
		ok(t, "docker", buildx(manifest, "--build-arg", "FORMAT="+group, "--output", "type=local,dest="+other)...)
		for name, sum := range sums(t, other) {
			if here := sums(t, dir)[name]; here != sum {
				t.Errorf("%s: buildx makes %s, lkx %s", name, sum, here)
			}
		}
	}
	if all := strings.Count(ok(t, e.lkx, "formats"), "\n") - 1; all != named { // the first line is a heading
		t.Errorf("there are %d formats, and %d formats are tested here", all, named)
	}
	ok(t, "tar", "-C", out, "-xzSf", filepath.Join(out, "os.img.tar.gz"))
	judgeDisks(t, out)
	for _, b := range boots {
		if !b.quick && os.Getenv("LKX_TEST_FULL") == "" {
			continue
		}
		t.Run(strings.Join(append([]string{b.file, b.firmware}, b.as...), " "), func(t *testing.T) {
			guest(t, e, append(b.as, "--boot", b.firmware, "--expect", "hello from lkx", filepath.Join(out, b.file))...)
		})
	}
}

// judgeDisks compares the disks with os.img, and checks its partitions.
func judgeDisks(t *testing.T, dir string) {
	t.Helper()
	raw := filepath.Join(dir, "os.img")
	for _, name := range []string{"os.img", "os-bios.img", "os-efi.img", "os.iso", "os-efi.iso", "bios/os.iso"} {
		if out := ok(t, "sgdisk", "-v", filepath.Join(dir, name)); !strings.Contains(out, "No problems found") {
			t.Errorf("sgdisk: %s: %s", name, out)
		}
	}
	contains(t, ok(t, "xorriso", "-indev", filepath.Join(dir, "os.iso"), "-report_el_torito", "plain"),
		"BIOS  y   none", "UEFI  y   none", "boot-info-table grub2-boot-info")
	for name, format := range sameDisks {
		ok(t, "qemu-img", "compare", "-f", "raw", "-F", format, raw, filepath.Join(dir, name))
	}
	for _, name := range []string{"os.qcow2", "os-efi.qcow2", "bios/os.qcow2"} {
		ok(t, "qemu-img", "check", filepath.Join(dir, name))
	}
	var info struct {
		Format      string `json:"format"`
		VirtualSize int64  `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(ok(t, "qemu-img", "info", "-f", "raw", "--output=json", filepath.Join(dir, "disk.raw"))), &info); err != nil {
		t.Fatal(err)
	}
	if info.VirtualSize != 1<<30 {
		t.Errorf("Google's disk has %d bytes", info.VirtualSize)
	}
	if d := cmp.Diff([]string{"disk.raw"}, strings.Fields(ok(t, "tar", "-tzf", filepath.Join(dir, "os.img.tar.gz")))); d != "" {
		t.Error(d)
	}
}

// TestARM64 builds a system for another architecture, and boots it.
func TestARM64(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images,
		"--platform", "linux/arm64", "-f", "kernel+initrd,qcow2-efi", "-o", out, "../examples/arch.yml")
	guest(t, e, "--arch", "arm64", "--expect", "hello from lkx", filepath.Join(out, "arch"))
	if os.Getenv("LKX_TEST_FULL") != "" {
		guest(t, e, "--arch", "arm64", "--expect", "hello from lkx", filepath.Join(out, "arch-efi.qcow2"))
	}
}
