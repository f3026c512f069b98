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
	"kernel+initrd,tar-kernel-initrd,uki,raw,raw-bios,raw-efi,qcow2,qcow2-efi,vhd,vhdx,vmdk,ova,aws,gcp,tar",
	"qcow2-bios,dynamic-vhd",
}

// sameDisks are those that hold what os.img holds, with QEMU's name of the format.
var sameDisks = map[string]string{"os.qcow2": "qcow2", "os.vhd": "vpc", "os.vhdx": "vhdx", "os.vmdk": "vmdk", "os.raw": "raw", "bios/os.vhd": "vpc"}

// boots are what is booted, with which firmware, and how it is attached.
var boots = []struct {
	quick    bool
	file     string
	firmware string
}{
	{true, "os.img", "bios"},
	{true, "os.img", "efi"},
	{false, "os-bios.img", "bios"},
	{false, "os-efi.img", "efi"},
	{true, "os.efi", "efi"},
	{false, "os.qcow2", "efi"},
	{false, "os.qcow2", "bios"},
	{false, "os-efi.qcow2", "efi"},
	{false, "bios/os.qcow2", "bios"},
	{false, "os.vhd", "bios"},
	{false, "bios/os.vhd", "efi"},
	{false, "os.vhdx", "bios"},
	{true, "os.vmdk", "bios"},
	{false, "os.raw", "efi"},
	{false, "disk.raw", "bios"},
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
		t.Run(b.file+" "+b.firmware, func(t *testing.T) {
			guest(t, e, "--boot", b.firmware, "--expect", "hello from lkx", filepath.Join(out, b.file))
		})
	}
}

// judgeDisks compares the disks with os.img, and checks its partitions.
func judgeDisks(t *testing.T, dir string) {
	t.Helper()
	raw := filepath.Join(dir, "os.img")
	if out := ok(t, "sgdisk", "-v", raw); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
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
