package newroot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/probe"
	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Wanted{
		"lkx.root=UUID=01ab":                          {By: "UUID", Name: "01ab", Wait: time.Minute},
		`lkx.root="LABEL=a label"`:                    {By: "LABEL", Name: "a label", Wait: time.Minute},
		"lkx.root=PARTUUID=1234abcd-01":               {By: "PARTUUID", Name: "1234abcd-01", Wait: time.Minute},
		"lkx.root=/dev//vda1":                         {By: "/dev", Name: "/dev/vda1", Wait: time.Minute},
		"lkx.root=/dev/a lkx.rootwait=0":              {By: "/dev", Name: "/dev/a"},
		"lkx.root=/dev/a lkx.rootwait=2m":             {By: "/dev", Name: "/dev/a", Wait: 2 * time.Minute},
		"lkx.root=LABEL=x lkx.rootfstype=erofs quiet": {By: "LABEL", Name: "x", Type: "erofs", Wait: time.Minute},
	} {
		if got, err := Parse(cmdline.Parse(text)); err != nil || *got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"lkx.root=vda", "lkx.root=UUID=", "lkx.root=PARTLABEL=x"} {
		if got, err := Parse(cmdline.Parse(text)); err == nil {
			t.Errorf("%s: got %+v", text, got)
		}
	}
	if got, err := Parse(cmdline.Parse("root=/dev/vda lkx.root=")); got != nil || err != nil {
		t.Errorf("without lkx.root: got %+v, %v", got, err)
	}
	if got, err := Parse(cmdline.Parse("lkx.root=/dev/a lkx.rootwait=soon")); err == nil || got.Wait != time.Minute {
		t.Errorf("a wait that is no time: got %+v, %v", got, err)
	}
}

// machine is a machine with no devices yet.
func machine(t *testing.T) system {
	t.Helper()
	s := system{t.TempDir(), t.TempDir()}
	if err := os.MkdirAll(filepath.Join(s.sys, "class/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// add plugs in a device: "vda", or "vda/vda1" for its partition.
func (s system) add(t *testing.T, name, uevent, content string) {
	t.Helper()
	dir, base := filepath.Join(s.sys, "devices", name), filepath.Base(name)
	write(t, filepath.Join(s.dev, base), content)
	write(t, filepath.Join(dir, "size"), fmt.Sprintln(len(content)/512))
	write(t, filepath.Join(dir, "uevent"), "DEVNAME="+base+"\n"+uevent)
	link := filepath.Join(s.sys, "class/block", base)
	if err := os.Symlink(dir, link); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
}

// erofs is the start of a file system, on a device that is large enough.
func erofs(label string, id byte) string {
	image := make([]byte, 8192)
	sb := image[1024:]
	binary.LittleEndian.PutUint32(sb, 0xE0F5E1E2)
	sb[12], sb[36] = 12, 2
	sb[63] = id
	copy(sb[64:80], label)
	return string(image)
}

// mbr is a disk with a partition table.
func mbr() string {
	image := make([]byte, 8192)
	copy(image[440:], "\xcd\xab\x34\x12")
	copy(image[510:], "\x55\xaa")
	return string(image)
}

func TestDevices(t *testing.T) {
	s := machine(t)
	s.add(t, "loop0", "", "")
	s.add(t, "sda", "DISKSEQ=1\n", mbr())
	s.add(t, "sda/sda1", "DISKSEQ=1\nPARTN=1\n", erofs("root", 1))
	s.add(t, "sdb", "", erofs("cut", 2)[:4096])
	s.add(t, "sr0", "", mbr())
	if err := os.Remove(filepath.Join(s.dev, "sr0")); err != nil {
		t.Fatal(err)
	}
	known := map[string]*Device{}
	expect := func(want string) {
		t.Helper()
		list, err := s.devices(known)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, d := range list {
			got += d.String() + "\n"
		}
		if got != want {
			t.Errorf("got:\n%swant:\n%s", got, want)
		}
	}
	disks := "/dev/sda, 8 KiB: no squashfs, erofs or iso9660\n" +
		"/dev/sda1, 8 KiB: erofs, UUID=00000000-0000-0000-0000-000000000001, LABEL=root, PARTUUID=1234abcd-01\n" +
		"/dev/sdb, 4 KiB: ends before its file system, erofs of 8 KiB, UUID=00000000-0000-0000-0000-000000000002, LABEL=cut\n"
	expect(disks + "/dev/sr0, 8 KiB: cannot be opened: no such file or directory\n")
	s.add(t, "sr0", "", erofs("disc", 0))
	expect(disks + "/dev/sr0, 8 KiB: erofs, LABEL=disc\n")
	s.add(t, "sr0", "DISKSEQ=9\n", erofs("other", 0))
	expect(disks + "/dev/sr0, 8 KiB: erofs, LABEL=other\n")
	if list, err := (system{sys: t.TempDir()}).devices(known); len(list) > 0 || err != nil {
		t.Errorf("without devices: got %v, %v", list, err)
	}
}

// TestCD finds a root in a partition of a CD, of which the kernel makes no device.
func TestCD(t *testing.T) {
	image := make([]byte, 1<<20)
	copy(image[16*2048:], "\x01CD001\x01")
	file := filepath.Join(t.TempDir(), "cd")
	write(t, file, string(image))
	const id = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	judge := exec.Command("sgdisk", "-a", "1", "-n", "2:128:+8K", "-u", "2:"+id, file)
	judge.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if out, err := judge.CombinedOutput(); errors.Is(err, exec.ErrNotFound) && os.Getenv("LKX_TEST_E2E") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copy(content[128*512:], erofs("root", 1))
	s := machine(t)
	s.add(t, "sr0", "", string(content))
	list, err := s.devices(map[string]*Device{})
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v, want a CD and its partition", list, err)
	}
	const want = "/dev/sr0, partition 2, 8 KiB: erofs, UUID=00000000-0000-0000-0000-000000000001, LABEL=root, PARTUUID=" + id
	if got := list[1].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for line, want := range map[string]int64{"lkx.root=LABEL=root": 128 * 512, "lkx.root=/dev/sr0": 0} {
		w, err := Parse(cmdline.Parse(line))
		if err != nil {
			t.Fatal(err)
		}
		if d, others := choose(list, w); d == nil || d.Off != want || others != nil {
			t.Errorf("%s: got %v, %v", line, d, others)
		}
	}
}

func TestChoose(t *testing.T) {
	iso := probe.FileSystem{Type: "iso9660", UUID: "2024-12-31-23-59-59-00", Label: "a"}
	list := []*Device{
		{Path: "/dev/sda", Disk: "sda", FS: iso},
		{Path: "/dev/sda1", Disk: "sda", Part: 1, FS: iso, PartUUID: "1234abcd-01"},
		{Path: "/dev/sdb", Disk: "sdb", FS: iso},
		{Path: "/dev/sdc", Disk: "sdc", Err: probe.ErrUnknown},
		{Path: "/dev/sdd", Disk: "sdd", Err: errors.New("no medium found")},
	}
	for _, c := range []struct{ line, want, others string }{
		{"lkx.root=LABEL=a", "/dev/sda1", "/dev/sdb"},
		{"lkx.root=LABEL=A", "", ""},
		{"lkx.root=UUID=2024-12-31-23-59-59-00", "/dev/sda1", "/dev/sdb"},
		{"lkx.root=PARTUUID=1234ABCD-01", "/dev/sda1", ""},
		{"lkx.root=/dev/sda", "/dev/sda", ""},
		{"lkx.root=/dev/sdc", "", ""},
		{"lkx.root=/dev/sdc lkx.rootfstype=ext4", "/dev/sdc", ""},
		{"lkx.root=/dev/sdd lkx.rootfstype=ext4", "", ""},
	} {
		w, err := Parse(cmdline.Parse(c.line))
		if err != nil {
			t.Fatal(err)
		}
		chosen, others := choose(list, w)
		if chosen == nil {
			chosen = &Device{}
		}
		got := ""
		for _, o := range others {
			got += o.Path
		}
		if chosen.Path != c.want || got != c.others {
			t.Errorf("%s: got %s, others %s", c.line, chosen.Path, got)
		}
	}
}

// finder is one on s, whose devices change as plug says when it looks for the
// nth time, and what it says.
func finder(s system, plug func(n int)) (*Finder, *bytes.Buffer) {
	var out bytes.Buffer
	n := 0
	load := func() error {
		n++
		plug(n)
		return nil
	}
	f := NewFinder(log.New(&out, "", 0), load, nil)
	f.system = s
	return f, &out
}

func TestFind(t *testing.T) {
	s := machine(t)
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		f, out := finder(s, func(int) {
			if time.Since(started) > 12*time.Second {
				s.add(t, "vda", "", erofs("root", 0))
				s.add(t, "vdb", "", erofs("root", 0))
			}
		})
		d, err := f.Find(&Wanted{By: byLabel, Name: "root", Wait: time.Minute})
		if err != nil || d.Path != "/dev/vda" {
			t.Fatalf("got %v, %v", d, err)
		}
		const want = "waiting for the root file system LABEL=root, 5s of 1m0s by now\n" +
			"waiting for the root file system LABEL=root, 10s of 1m0s by now\n" +
			"LABEL=root is also on /dev/vdb; taking /dev/vda\n"
		if out.String() != want {
			t.Errorf("said:\n%s", out)
		}
	})
}

func TestFindAtOnce(t *testing.T) {
	s := machine(t)
	synctest.Test(t, func(t *testing.T) {
		changed := make(chan struct{}, 1)
		f, _ := finder(s, func(n int) {
			changed <- struct{}{}
			if n == 3 {
				s.add(t, "vda", "", erofs("root", 0))
			}
		})
		f.Changed = changed
		started := time.Now()
		if _, err := f.Find(&Wanted{By: byLabel, Name: "root", Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took != 2*breath {
			t.Errorf("took %v", took)
		}
	})
}

func TestMissing(t *testing.T) {
	s := machine(t)
	synctest.Test(t, func(t *testing.T) {
		f, _ := finder(s, func(int) {})
		started := time.Now()
		_, err := f.Find(&Wanted{By: byLabel, Name: "root", Wait: 3 * time.Second})
		if err == nil || !strings.Contains(err.Error(), "LABEL=root was not found in 3s; there is no block device") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(started); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		s.add(t, "vda", "", erofs("other", 0))
		_, err = f.Find(&Wanted{By: byDevice, Name: "/dev/vdb"})
		if err == nil || !strings.HasSuffix(err.Error(), "there are\n  /dev/vda, 8 KiB: erofs, LABEL=other") {
			t.Errorf("got %v", err)
		}
	})
}

func TestInit(t *testing.T) {
	dir := t.TempDir()
	expect := func(want string) {
		t.Helper()
		if got, err := Init(dir); got != want || (err == nil) != (want != "") {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	expect("")
	write(t, filepath.Join(dir, "lib/start"), "")
	if err := os.Mkdir(filepath.Join(dir, "sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The link is meant from the top of dir.
	if err := os.Symlink("/lib/start", filepath.Join(dir, "sbin/init")); err != nil {
		t.Fatal(err)
	}
	expect("") // it cannot be executed
	if err := os.Chmod(filepath.Join(dir, "lib/start"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect("/sbin/init")
	if err := os.Symlink("missing", filepath.Join(dir, "init")); err != nil {
		t.Fatal(err)
	}
	expect("/sbin/init")
}

func TestEmpty(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b/c"), "")
	if err := os.Symlink("/", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := empty(dir, st.Dev+1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a/b/c")); err != nil {
		t.Error("removed a file of another file system")
	}
	if err := empty(dir, st.Dev); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
