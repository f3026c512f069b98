package ova

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lkx-os/lkx/internal/judge"
)

const capacity = 3 << 20

var machine = Options{Name: "red.is-1", CPUs: 2, MemoryMiB: 512, Firmware: "efi", Network: true, Epoch: 1700000000}

// vmdk is what looks like a stream-optimized disk from outside.
func vmdk() []byte {
	b := make([]byte, 5120)
	copy(b, "KDMV\x03\x00\x00\x00\x01\x00\x03\x00")
	binary.LittleEndian.PutUint64(b[12:], capacity/512)
	copy(b[512:], "the rest")
	return b
}

func write(t *testing.T, disk io.ReadSeeker, o Options) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, disk, o); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestByJudges unpacks an OVA with tar and has other tools look at its files.
func TestByJudges(t *testing.T) {
	ova := write(t, bytes.NewReader(vmdk()), machine)
	dir := t.TempDir()
	ovf := judge.Feed(t, ova, "tar", "-xO", "red.is-1.ovf")
	var got []string
	for line := range strings.Lines(judge.Feed(t, ova, "tar", "-tv", "--full-time")) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"-rw-r--r-- 0/0 " + strconv.Itoa(len(ovf)) + " 2023-11-14 22:13:20 red.is-1.ovf",
		"-rw-r--r-- 0/0 181 2023-11-14 22:13:20 red.is-1.mf",
		"-rw-r--r-- 0/0 5120 2023-11-14 22:13:20 red.is-1-disk1.vmdk",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("tar lists something else:\n%s", d)
	}
	if magic := string(ova[257:265]); magic != "ustar\x0000" {
		t.Errorf("the archive's magic is %q", magic)
	}
	judge.Feed(t, ova, "tar", "-x", "-C", dir)
	var mf strings.Builder
	for _, name := range []string{"red.is-1.ovf", "red.is-1-disk1.vmdk"} {
		sum, _, _ := strings.Cut(judge.Feed(t, nil, "sha256sum", filepath.Join(dir, name)), " ")
		fmt.Fprintf(&mf, "SHA256(%s)= %s\n", name, sum)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "red.is-1.mf")); err != nil || string(text) != mf.String() {
		t.Errorf("the manifest is\n%s, want\n%s", text, mf.String())
	}
	if disk, err := os.ReadFile(filepath.Join(dir, "red.is-1-disk1.vmdk")); err != nil || !bytes.Equal(disk, vmdk()) {
		t.Errorf("the disk is another (%v)", err)
	}
	judge.Feed(t, []byte(ovf), "xmllint", "--noout", "-")
}

// envelope is what an importer reads.
type envelope struct {
	XMLName xml.Name `xml:"http://schemas.dmtf.org/ovf/envelope/1 Envelope"`
	File    struct {
		Href string `xml:"http://schemas.dmtf.org/ovf/envelope/1 href,attr"`
		ID   string `xml:"http://schemas.dmtf.org/ovf/envelope/1 id,attr"`
		Size string `xml:"http://schemas.dmtf.org/ovf/envelope/1 size,attr"`
	} `xml:"References>File"`
	Disk struct {
		Capacity string `xml:"http://schemas.dmtf.org/ovf/envelope/1 capacity,attr"`
		ID       string `xml:"http://schemas.dmtf.org/ovf/envelope/1 diskId,attr"`
		File     string `xml:"http://schemas.dmtf.org/ovf/envelope/1 fileRef,attr"`
		Format   string `xml:"http://schemas.dmtf.org/ovf/envelope/1 format,attr"`
	} `xml:"DiskSection>Disk"`
	Networks []struct {
		Name string `xml:"http://schemas.dmtf.org/ovf/envelope/1 name,attr"`
	} `xml:"NetworkSection>Network"`
	System struct {
		ID       string `xml:"http://schemas.dmtf.org/ovf/envelope/1 id,attr"`
		Name     string
		Hardware struct {
			Type   string `xml:"System>VirtualSystemType"`
			Items  []item `xml:"Item"`
			Config []struct {
				Key   string `xml:"http://www.vmware.com/schema/ovf key,attr"`
				Value string `xml:"http://www.vmware.com/schema/ovf value,attr"`
			} `xml:"http://www.vmware.com/schema/ovf Config"`
		} `xml:"VirtualHardwareSection"`
	} `xml:"VirtualSystem"`
}

type item struct {
	Fields []struct {
		XMLName xml.Name
		Text    string `xml:",chardata"`
	} `xml:",any"`
}

func (i item) field(name string) string {
	for _, f := range i.Fields {
		if f.XMLName.Local == name {
			return f.Text
		}
	}
	return ""
}

func parse(t *testing.T, ova []byte) envelope {
	t.Helper()
	ovf := []byte(judge.Feed(t, ova, "tar", "-xO", "red.is-1.ovf"))
	var env envelope
	var parts struct {
		All []struct{ XMLName xml.Name } `xml:",any"`
	}
	if err := errors.Join(xml.Unmarshal(ovf, &env), xml.Unmarshal(ovf, &parts)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range parts.All {
		got = append(got, p.XMLName.Local)
	}
	want := []string{"References", "DiskSection", "NetworkSection", "VirtualSystem"}
	if len(env.Networks) == 0 {
		want = slices.Delete(want, 2, 3)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the descriptor has other parts:\n%s", d)
	}
	return env
}

func TestDescriptor(t *testing.T) {
	env := parse(t, write(t, bytes.NewReader(vmdk()), machine))
	hw := env.System.Hardware
	for _, c := range []struct{ got, want string }{
		{env.File.Href, "red.is-1-disk1.vmdk"},
		{env.File.Size, "5120"},
		{env.Disk.Capacity, "3145728"},
		{env.Disk.File, env.File.ID},
		{env.Disk.Format, "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"},
		{env.System.ID, "red.is-1"},
		{env.System.Name, "red.is-1"},
		{hw.Type, "vmx-13"},
		{hw.Config[0].Key + "=" + hw.Config[0].Value, "firmware=efi"},
		{env.Networks[0].Name, "VM Network"},
	} {
		if c.got != c.want {
			t.Errorf("the descriptor has %q, want %q", c.got, c.want)
		}
	}
	var types, ids []string
	for _, i := range hw.Items {
		types, ids = append(types, i.field("ResourceType")), append(ids, i.field("InstanceID"))
		var names []string
		for _, f := range i.Fields {
			names = append(names, f.XMLName.Local)
			if f.XMLName.Space != "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" {
				t.Errorf("%s is of another namespace", f.XMLName.Local)
			}
		}
		if !slices.IsSorted(names) {
			t.Errorf("the schema has %v in another order", names)
		}
	}
	if d := cmp.Diff([]string{"3", "4", "6", "17", "10"}, types); d != "" {
		t.Errorf("the machine is made of other parts:\n%s", d)
	}
	if d := cmp.Diff([]string{"1", "2", "3", "4", "5"}, ids); d != "" {
		t.Errorf("the parts have other numbers:\n%s", d)
	}
	cpus, memory, scsi, disk, network := hw.Items[0], hw.Items[1], hw.Items[2], hw.Items[3], hw.Items[4]
	if cpus.field("VirtualQuantity") != "2" || memory.field("VirtualQuantity") != "512" {
		t.Error("the machine has other CPUs or memory")
	}
	if disk.field("Parent") != scsi.field("InstanceID") || disk.field("HostResource") != "ovf:/disk/"+env.Disk.ID {
		t.Error("the disk is attached to something else")
	}
	if network.field("Connection") != env.Networks[0].Name {
		t.Error("the adapter has no network")
	}
}

func TestVariants(t *testing.T) {
	o := machine
	o.Network, o.Firmware = false, "bios"
	env := parse(t, write(t, bytes.NewReader(vmdk()), o))
	if len(env.Networks) != 0 || len(env.System.Hardware.Items) != 4 {
		t.Error("the machine has a network")
	}
	if got := env.System.Hardware.Config[0].Value; got != "bios" {
		t.Errorf("the firmware is %s", got)
	}
	if !bytes.Equal(write(t, bytes.NewReader(vmdk()), o), write(t, bytes.NewReader(vmdk()), o)) {
		t.Error("the same machine gives other bytes")
	}
}

// TestQEMUDisk packs a real disk, and has QEMU compare it as unpacked. QEMU's
// own layout is not what hypervisors import, but the archive must not care.
func TestQEMUDisk(t *testing.T) {
	dir := t.TempDir()
	raw, img := filepath.Join(dir, "raw"), filepath.Join(dir, "disk.vmdk")
	if err := os.WriteFile(raw, bytes.Repeat([]byte("0123456789abcdef"), capacity/16), 0o600); err != nil {
		t.Fatal(err)
	}
	judge.Feed(t, nil, "qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, img)
	disk, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	ova := write(t, disk, machine)
	if got := parse(t, ova).Disk.Capacity; got != strconv.Itoa(capacity) {
		t.Errorf("the capacity is %s", got)
	}
	judge.Feed(t, ova, "tar", "-x", "-C", dir)
	judge.Feed(t, nil, "qemu-img", "check", filepath.Join(dir, "red.is-1-disk1.vmdk"))
	judge.Feed(t, nil, "qemu-img", "compare", filepath.Join(dir, "red.is-1-disk1.vmdk"), raw)
}

func TestRefuses(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`named ""`:             func(o *Options) { o.Name = "" },
		`named "a&b"`:          func(o *Options) { o.Name = "a&b" },
		`named "../a"`:         func(o *Options) { o.Name = "../a" },
		`named "a\nb"`:         func(o *Options) { o.Name = "a\nb" },
		"0 CPUs":               func(o *Options) { o.CPUs = 0 },
		"129 CPUs":             func(o *Options) { o.CPUs = 129 },
		"510 MiB":              func(o *Options) { o.MemoryMiB = 510 },
		`no firmware "coreboo`: func(o *Options) { o.Firmware = "coreboot" },
		"time -1":              func(o *Options) { o.Epoch = -1 },
	} {
		o := machine
		change(&o)
		if err := Write(io.Discard, bytes.NewReader(vmdk()), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	plain := vmdk()
	plain[10] = 0 // flags: nothing is compressed
	for want, disk := range map[string]io.ReadSeeker{
		"stream-optimized": bytes.NewReader(plain),
		"EOF":              strings.NewReader("short"),
		"8 GiB - 1":        io.NewSectionReader(bytes.NewReader(nil), 0, 1<<33),
		"unexpected EOF":   &shrinking{ReadSeeker: bytes.NewReader(vmdk())},
	} {
		if err := Write(io.Discard, disk, machine); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	if err := Write(full{}, bytes.NewReader(vmdk()), machine); !errors.Is(err, errFull) {
		t.Errorf("on a full disk, the error is %v", err)
	}
}

// shrinking is a disk that is cut short once it was read.
type shrinking struct {
	io.ReadSeeker
	starts int
}

func (s *shrinking) Seek(off int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		s.starts++
		if s.starts == 2 {
			off = 1024
		}
	}
	return s.ReadSeeker.Seek(off, whence)
}

// full is a file whose disk is full.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }
