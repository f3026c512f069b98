package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// groups are all formats, by the directory they are made in; those of a group
// have files of different names. The systems of the last two have their roots on
// their disks.
var groups = []struct{ dir, formats, root string }{
	{"", "kernel+initrd,tar-kernel-initrd,uki,iso,iso-efi,iso-efi-initrd,raw,raw-bios,raw-efi,qcow2,qcow2-efi,vhd,vhdx,vmdk,ova,aws,gcp,tar,oci,docker", ""},
	{"bios", "iso-bios,qcow2-bios,dynamic-vhd,kernel+squashfs", ""},
	{"erofs", "kernel+erofs", ""},
	{"iso", "kernel+iso", ""},
	{"root", "iso,raw,raw-bios,qcow2-efi", "squashfs"},
	{"root-erofs", "iso,raw", "erofs"},
}

// elsewhere is how many formats other tests make: that of the Raspberry Pi.
const elsewhere = 1

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
	{true, "bios/os", "", nil},
	{true, "erofs/os", "", nil},
	{false, "iso/os", "", nil},
	{true, "root/os.img", "bios", nil},
	{true, "root/os.iso", "efi", nil},
	{false, "root/os.iso", "bios", nil},
	{false, "root/os.iso", "bios", asDisk},
	{false, "root/os-bios.img", "bios", nil},
	{false, "root/os-efi.qcow2", "efi", nil},
	{false, "root-erofs/os.img", "efi", nil},
	{false, "root-erofs/os.iso", "bios", nil},
	{false, "root-erofs/os.iso", "efi", asDisk},
}

// TestFormats makes every format on both roads, has other programs look at the
// disks, and boots them.
func TestFormats(t *testing.T) {
	e := setup(t)
	out, store := t.TempDir(), t.TempDir()
	manifest := filepath.Join(t.TempDir(), "os.yml")
	named := map[string]bool{}
	for _, g := range groups {
		for name := range strings.SplitSeq(g.formats, ",") {
			named[name] = true
		}
		writeManifest(t, manifest, g.root)
		dir := filepath.Join(out, g.dir)
		ok(t, e.lkx, "build", "--progress", "quiet", "--store", store, "--layout", e.images, "-f", g.formats, "-o", dir, manifest)
		other := t.TempDir()
		ok(t, "docker", buildx(manifest, "--build-arg", "FORMAT="+g.formats, "--output", "type=local,dest="+other)...)
		here := sums(t, dir)
		for name, sum := range sums(t, other) {
			if here[name] != sum {
				t.Errorf("%s: buildx makes %s, lkx %s", name, sum, here[name])
			}
		}
	}
	if all := strings.Count(ok(t, e.lkx, "formats"), "\n") - 1; all != len(named)+elsewhere { // the first line is a heading
		t.Errorf("there are %d formats, and %d formats are tested here", all, len(named))
	}
	ok(t, "tar", "-C", out, "-xzSf", filepath.Join(out, "os.img.tar.gz"))
	judgeDisks(t, out)
	for _, b := range boots {
		if !b.quick && os.Getenv("LKX_TEST_FULL") == "" {
			continue
		}
		t.Run(strings.Join(append([]string{b.file, b.firmware}, b.as...), " "), func(t *testing.T) {
			args := append([]string{"--expect", "hello from lkx"}, b.as...)
			if b.firmware != "" {
				args = append(args, "--boot", b.firmware)
			}
			guest(t, e, append(args, filepath.Join(out, b.file))...)
		})
	}
}

// writeManifest writes examples/minimal.yml, with a root of that type. Its kernel
// does not count ticks of the emulator, which may be late: lkx run can only tell
// those so that it starts itself.
func writeManifest(t *testing.T, name, root string) {
	t.Helper()
	text, err := os.ReadFile("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("cmdline: "), []byte("cmdline: no_timer_check "), 1)
	if root != "" {
		text = append(text, "root: "+root+"\n"...)
	}
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// judgeDisks compares the disks with os.img, and checks its partitions.
func judgeDisks(t *testing.T, dir string) {
	t.Helper()
	raw := filepath.Join(dir, "os.img")
	for _, name := range []string{"os.img", "os-bios.img", "os-efi.img", "os.iso", "os-efi.iso", "bios/os.iso", "root/os.img", "root/os.iso"} {
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
	contains(t, ok(t, "unsquashfs", "-lls", filepath.Join(dir, "bios/os-squashfs.img")), "squashfs-root/usr/bin/containerd", "squashfs-root/proc\n")
	ok(t, "fsck.erofs", filepath.Join(dir, "erofs/os-erofs.img"))
	contains(t, ok(t, "objdump", "-h", filepath.Join(dir, "os.efi")), " .linux ", " .initrd ", " .cmdline ")
	contains(t, ok(t, "skopeo", "inspect", "--config", "oci-archive:"+filepath.Join(dir, "os-oci.tar")), `"/init"`)
	contains(t, ok(t, "skopeo", "inspect", "--config", "docker-archive:"+filepath.Join(dir, "os.docker")), `"amd64"`)
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

// TestFlatWarning asks for a disk of which buildx would write a lot of zeros.
func TestFlatWarning(t *testing.T) {
	setup(t)
	contains(t, ok(t, "docker", buildx("../examples/minimal.yml", "--progress", "plain", "--build-arg", "FORMAT=raw", "--build-arg", "SIZE=2G", "--output", "type=cacheonly")...),
		"raw of 2048 MiB", "qcow2, vhdx, vmdk and dynamic-vhd are as large as their content")
}

// TestARM64 builds a system for another architecture, and boots it.
func TestARM64(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images,
		"--platform", "linux/arm64", "-f", "kernel+initrd,uki,raw-efi,iso-efi,qcow2-efi", "-o", out, "../examples/arch.yml")
	guest(t, e, "--arch", "arm64", "--expect", "hello from lkx", filepath.Join(out, "arch"))
	if os.Getenv("LKX_TEST_FULL") != "" {
		guest(t, e, "--arch", "arm64", "--expect", "hello from lkx", filepath.Join(out, "arch-efi.qcow2"))
	}
}

// TestRaspberry makes a card for the Raspberry Pi 3, looks at its files, and
// boots them as the firmware would: QEMU has the board, but not its firmware.
func TestRaspberry(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	manifest := write(t, "card.yml", `kernel:
  image: ghcr.io/lkx-os/kernel-generic:0.1
  cmdline: console=ttyAMA0,115200 lkx.log=console
init:
  - ghcr.io/lkx-os/init:0.1
  - ghcr.io/lkx-os/runc:0.1
  - ghcr.io/lkx-os/containerd:0.1
services:
  - name: hello
    image: ghcr.io/lkx-os/hello:0.1
`)
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images,
		"--platform", "linux/arm64", "-f", "rpi3", "-o", out, manifest)
	card := filepath.Join(out, "card-rpi3.img")
	contains(t, ok(t, "sfdisk", "--dump", card), "start=        2048", "type=c")
	part := card + "@@1M"
	contains(t, ok(t, "mdir", "-b", "-i", part, "::"), "::/bootcode.bin", "::/start.elf", "::/config.txt", "::/bcm2710-rpi-3-b.dtb", "::/LICENCE.txt")
	for _, name := range []string{"kernel", "initrd.img", "bcm2710-rpi-3-b.dtb", "cmdline.txt"} {
		ok(t, "mcopy", "-i", part, "::"+name, filepath.Join(out, name))
	}
	cmdline, err := os.ReadFile(filepath.Join(out, "cmdline.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("LKX_TEST_FULL") == "" {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	board := exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "raspi3b", "-kernel", filepath.Join(out, "kernel"), "-initrd", filepath.Join(out, "initrd.img"),
		"-dtb", filepath.Join(out, "bcm2710-rpi-3-b.dtb"), "-append", strings.TrimSpace(string(cmdline)), "-display", "none", "-serial", "stdio")
	console, err := board.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := board.Start(); err != nil {
		t.Fatal(err)
	}
	found := false
	for lines := bufio.NewScanner(console); !found && lines.Scan(); {
		found = strings.Contains(lines.Text(), "hello from lkx")
	}
	cancel()
	_ = board.Wait() // it was killed
	if !found {
		t.Error("the board never said hello")
	}
}
