package mbr

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/partition/mbr"

	"github.com/lkx-os/lkx/internal/judge"
)

func TestJudges(t *testing.T) {
	x := &Table{Signature: 0x12345678, BootCode: []byte{0xfa}, Size: 8 << 20, Partitions: []Partition{
		{Type: FAT32, Active: true, Off: 1 << 20, Size: 4 << 20}, {Type: Linux, Off: 5 << 20, Size: 3 << 20},
	}}
	img, err := x.Image()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := img.Save(f); err != nil {
		t.Fatal(err)
	}
	got, err := mbr.Read(f, 512, 512)
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Partitions; p[0].Type != mbr.Fat32LBA || !p[0].Bootable || p[0].Start != 2048 || p[0].Size != 8192 || p[1].Type != mbr.Linux || p[1].Start != 10240 {
		t.Errorf("go-diskfs reads %+v, %+v", p[0], p[1])
	}
	out := judge.Run(t, "sfdisk", "--dump", name)
	for _, want := range []string{"label-id: 0x12345678", "start=        2048, size=        8192, type=c, bootable", "start=       10240, size=        6144, type=83"} {
		if !strings.Contains(out, want) {
			t.Errorf("sfdisk does not say %q:\n%s", want, out)
		}
	}
	if out := judge.Run(t, "sfdisk", "--verify", name); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk: %s", out)
	}
}

func TestRefuses(t *testing.T) {
	for what, x := range map[string]Table{
		"too much code":   {Size: 1 << 20, BootCode: make([]byte, 441)},
		"five partitions": {Size: 1 << 20, Partitions: make([]Partition, 5)},
		"beyond the disk": {Size: 1 << 20, Partitions: []Partition{{Off: 512, Size: 1 << 20}}},
		"over the record": {Size: 1 << 20, Partitions: []Partition{{Off: 0, Size: 512}}},
		"half sectors":    {Size: 1 << 20, Partitions: []Partition{{Off: 512, Size: 100}}},
		"nothing":         {Size: 1 << 20, Partitions: []Partition{{Off: 512}}},
		"more than 2 TiB": {Size: 4 << 40, Partitions: []Partition{{Off: 3 << 40, Size: 512}}},
	} {
		if _, err := x.Image(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
