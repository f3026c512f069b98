package disk

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sys makes a /sys/class/block of files: a link for each device into the tree
// of its bus, as the kernel has it.
func sys(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	class := filepath.Join(root, "class")
	if err := os.MkdirAll(class, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(root, "devices", name)
		dev := strings.Split(name, "/")
		depth := 1
		if len(dev) > 2 && strings.HasPrefix(dev[1], dev[0]) {
			depth = 2
		}
		own := strings.Join(dev[:depth], "/")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, "devices", own), filepath.Join(class, filepath.Base(own))); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	return class
}

func TestList(t *testing.T) {
	class := sys(t, map[string]string{
		"vdaa/size": "2048\n", "vdaa/dev": "254:416\n", "vdaa/device/x": "",
		"vdb/size": "4096\n", "vdb/serial": "lkx-data\n", "vdb/device/x": "", "vdb/ro": "1\n",
		"vdb/vdb10/size": "10\n", "vdb/vdb10/partition": "10\n", "vdb/vdb2/size": "10\n", "vdb/vdb2/partition": "2\n",
		"sda/size": "8\n", "sda/device/vpd_pg80": "\x00\x80\x00\x08  WD-1234", "sr0/size": "8\n", "sr0/device/x": "",
		"dm-0/size": "8\n", "dm-0/dm/name": "secret\n", "loop0/size": "0\n", "ram0/size": "8\n",
	})
	got, err := list(class)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	by := map[string]Device{}
	for _, d := range got {
		names = append(names, d.Name)
		by[d.Name] = d
	}
	if want := "sda sr0 vdb vdb2 vdb10 dm-0 vdaa"; strings.Join(names, " ") != want {
		t.Errorf("got %q, want %q", names, want)
	}
	vdb := Device{Name: "vdb", Path: "/dev/vdb", Disk: "vdb", Serial: "lkx-data", Size: 4096 * 512, ReadOnly: true, Hardware: true}
	if by["vdb"] != vdb {
		t.Errorf("got %+v, want %+v", by["vdb"], vdb)
	}
	if p := by["vdb2"]; !p.Partition || p.Disk != "vdb" || !p.Hardware || p.Serial != "lkx-data" {
		t.Errorf("the partition is %+v", p)
	}
	if d := by["dm-0"]; d.Path != "/dev/mapper/secret" || d.Hardware {
		t.Errorf("the mapping is %+v", d)
	}
	if by["sda"].Serial != "WD-1234" || !by["sr0"].CD || by["vdaa"].Number != "254:416" {
		t.Errorf("got %+v", by)
	}
}

// tool is the path of a program, or the end of the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath("/usr/sbin/" + name)
	if err != nil {
		if os.Getenv("LKX_TEST_E2E") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

func TestLook(t *testing.T) {
	Blkid = tool(t, "blkid")
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Look(name); err != nil || !c.Nothing() || c.Written {
		t.Errorf("an empty disk is %+v, %v", c, err)
	}
	noise := append(make([]byte, 700000), 1)
	if err := os.WriteFile(name+"-noise", append(noise, make([]byte, 1<<20)...), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Look(name + "-noise"); err != nil || !c.Nothing() || !c.Written {
		t.Errorf("noise is %+v, %v", c, err)
	}
	if out, err := exec.Command(tool(t, "mke2fs"), "-q", "-F", "-L", `a "label" \`, name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := Look(name)
	if err != nil || c.Nothing() || c.Type != "ext2" || c.Label != `a "label" \` || len(c.UUID) != 36 {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := Look(name + "-none"); err != nil || c.Nothing() || !os.IsNotExist(c.Broken) {
		t.Errorf("what cannot be read is %+v, %v", c, err)
	}
}

func found(name, path, disk string, c Content) Found {
	return Found{Device{Name: name, Path: path, Disk: disk, Partition: name != disk, Hardware: true, Size: 1 << 30}, c}
}

func TestOne(t *testing.T) {
	all := []Found{
		found("sda", "/dev/sda", "sda", Content{Type: "iso9660", Label: "LKX"}),
		found("sda1", "/dev/sda1", "sda", Content{Type: "iso9660", Label: "LKX"}),
		found("sdb", "/dev/sdb", "sdb", Content{Type: LUKS, Label: "data", UUID: "AB-1"}),
		found("sdc1", "/dev/sdc1", "sdc", Content{Type: "ext4", Label: "data"}),
		found("sdd1", "/dev/sdd1", "sdd", Content{Type: "ext4", Label: "twice"}),
		found("sde1", "/dev/sde1", "sde", Content{Type: "ext4", Label: "twice"}),
	}
	for spec, want := range map[string]string{"LABEL=LKX": "sda1", "LABEL=data": "sdc1", "UUID=ab-1": "sdb", "/dev/sdb": "sdb"} {
		if got, err := one(spec, all); err != nil || got.Name != want {
			t.Errorf("%s: got %s, %v, want %s", spec, got.Name, err, want)
		}
	}
	if _, err := one("LABEL=twice", all); err == nil || !strings.Contains(err.Error(), "/dev/sde1, 1 GiB: ext4, LABEL=twice") {
		t.Errorf("a label that is there twice: %v", err)
	}
}

func TestFirstEmpty(t *testing.T) {
	node := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(node, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	parted := found("vdb", node, "vdb", Content{}) // the kernel shows a partition, whatever blkid says
	part := found("vdb1", node, "vdb", Content{})
	cd := found("sr0", node, "sr0", Content{})
	cd.CD = true
	full := found("vda", node, "vda", Content{Table: "gpt"})
	ambiguous := found("vdc", node, "vdc", Content{Ambiguous: true})
	noise := found("vdd", node, "vdd", Content{Written: true})
	none := []Found{cd, full, parted, part, ambiguous, noise}
	if _, err := FirstEmpty(none); err == nil || !strings.Contains(err.Error(), "a CD drive: ") || strings.Count(err.Error(), "not empty: ") != 4 {
		t.Errorf("got %v", err)
	}
	if f, err := FirstEmpty(append(none, found("vdz", node, "vdz", Content{}))); err != nil || f.Name != "vdz" {
		t.Errorf("got %v, %v", f, err)
	}
	noise.Hardware = false
	if !noise.Empty() {
		t.Error("a mapping that looks like noise is not empty")
	}
	if _, err := FirstEmpty(nil); err == nil || !strings.Contains(err.Error(), "no disk at all") {
		t.Errorf("got %v", err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "3K": 3 << 10, "512M": 512 << 20, "2G": 2 << 30, "1T": 1 << 40} {
		if n, err := ParseSize(text); err != nil || n != want {
			t.Errorf("%s: got %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "M", "-1", "0", "1MM", "1m", "9999999T", "1.5G"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
	for n, want := range map[int64]string{12: "12 bytes", 64 << 20: "64 MiB", 3 << 29: "1.5 GiB", 254<<20 + 1<<19: "254.5 MiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
