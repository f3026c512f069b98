package qemu

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lkx-os/lkx/runner"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// lines are arguments, each option with its value on a line.
func lines(args []string) string {
	var b strings.Builder
	for i, a := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(a, "-"):
			b.WriteByte('\n')
		default:
			b.WriteByte(' ')
		}
		b.WriteString(a)
	}
	return b.String() + "\n"
}

func TestArguments(t *testing.T) {
	for name, x := range map[string]struct {
		m     runner.Machine
		accel string
	}{
		"amd64": {runner.Machine{Arch: "amd64", Kernel: "os-kernel", Initrd: "os-initrd.img", Cmdline: "console=ttyS0 quiet"}, "tcg"},
		"arm64": {runner.Machine{Arch: "arm64", Kernel: "os-kernel", Initrd: "os-initrd.img", Cmdline: "console=ttyAMA0"}, "tcg"},
		"uki":   {runner.Machine{Arch: "amd64", Kernel: "os.efi"}, "tcg"},
		"kvm":   {runner.Machine{Arch: "arm64", CPUs: 4, Memory: 3 << 30, NoReboot: true}, "kvm"},
		"cd":    {runner.Machine{Arch: "amd64", Disks: []runner.Disk{{Path: "/d/os.iso", Format: "raw", CD: true}}}, "tcg"},
		"devices": {runner.Machine{
			Arch: "amd64",
			Disks: []runner.Disk{
				{Path: "/d/root.qcow2", Format: "qcow2"},
				{Path: "/d/a,b:c", Format: "raw", Serial: "lkx-data", ReadOnly: true},
			},
			Publish: []runner.Port{{Proto: "tcp", Host: 8080, Guest: 80}, {Proto: "udp", Addr: "127.0.0.1", Host: 5353, Guest: 53}},
		}, "tcg"},
	} {
		t.Run(name, func(t *testing.T) {
			args, err := arguments(x.m, x.accel)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(lines(args)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), lines(args)); diff != "" {
				t.Errorf("go test -update rewrites %s:\n%s", golden, diff)
			}
		})
	}
}

func TestPowerButton(t *testing.T) {
	for _, x := range []struct {
		m    runner.Machine
		want string
	}{
		{runner.Machine{Arch: "amd64", Kernel: "k"}, "system_powerdown"},
		{runner.Machine{Arch: "arm64"}, "system_powerdown"},
		{runner.Machine{Arch: "arm64", Kernel: "k"}, "input-send-event"},
	} {
		var c struct{ Execute string }
		if err := json.Unmarshal([]byte(powerButton(x.m)), &c); err != nil || c.Execute != x.want {
			t.Errorf("%+v: %v, %q, want %q", x.m, err, c.Execute, x.want)
		}
	}
}

func TestDiskFormat(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"QFI\xfb\x00\x00\x00\x03": "qcow2",
		"KDMV\x01\x00\x00\x00":    "vmdk",
		"vhdxfile":                "vhdx",
		"conectix":                "vpc",
		"\xeb\x63\x90":            "raw",
		"":                        "raw",
	} {
		path := filepath.Join(dir, "disk")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		for format, want := range map[string]string{"": want, "raw": "raw"} {
			if got, err := diskFormat(runner.Disk{Path: path, Format: format}); got != want || err != nil {
				t.Errorf("%q, format %q: %q, %v; want %q", content, format, got, err, want)
			}
		}
	}
	_, err := arguments(runner.Machine{Arch: "amd64", Disks: []runner.Disk{{Path: filepath.Join(dir, "none")}}}, "tcg")
	if want := "opening the disk: open " + dir + "/none: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAccelerator(t *testing.T) {
	const (
		intel = "processor\t: 0\nflags\t\t: fpu vme vmx smx\nvmx flags\t: vnmi\n"
		amd   = "processor\t: 0\nflags\t\t: fpu svm extapic\n"
		guest = "processor\t: 0\nflags\t\t: fpu hypervisor vmmcall svm_not vmxish\n" // of a hypervisor that does not nest
		arm   = "processor\t: 0\nFeatures\t: fp asimd\n"
	)
	for _, x := range []struct {
		wanted, guest string
		host          hostInfo
		want          string
	}{
		{"auto", "amd64", hostInfo{"amd64", intel, true}, "kvm"},
		{"", "amd64", hostInfo{"amd64", amd, true}, "kvm"},
		{"auto", "amd64", hostInfo{"amd64", guest, true}, "tcg"},
		{"auto", "amd64", hostInfo{"amd64", "", true}, "tcg"},
		{"auto", "amd64", hostInfo{"amd64", intel, false}, "tcg"},
		{"auto", "arm64", hostInfo{"amd64", intel, true}, "tcg"},
		{"auto", "arm64", hostInfo{"arm64", arm, true}, "kvm"},
		{"auto", "arm64", hostInfo{"arm64", arm, false}, "tcg"},
		{"auto", "amd64", hostInfo{"arm64", arm, true}, "tcg"},
		{"kvm", "amd64", hostInfo{"amd64", guest, false}, "kvm"},
		{"tcg", "amd64", hostInfo{"amd64", intel, true}, "tcg"},
	} {
		if got := accelerator(x.wanted, x.guest, x.host); got != x.want {
			t.Errorf("%q for %s on %+v: %s, want %s", x.wanted, x.guest, x.host, got, x.want)
		}
	}
}
