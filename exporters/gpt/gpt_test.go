package gpt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/lkx-os/lkx/internal/judge"
)

func table() *Table {
	seed := []byte("seed")
	return &Table{
		ID: NewGUID(seed, "disk"), Size: 64 << 20, BootCode: []byte{0xfa, 0x90}, Active: true,
		Partitions: []Partition{
			{Type: BIOSBoot, ID: NewGUID(seed, "bios"), Name: "bios", Off: First, Size: 1<<20 - First},
			{Type: EFISystem, ID: NewGUID(seed, "esp"), Name: "esp", Off: 1 << 20, Size: 62 << 20, Attributes: 4},
		},
	}
}

func saved(t *testing.T, x *Table) string {
	t.Helper()
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
	return name
}

func TestJudges(t *testing.T) {
	x := table()
	name := saved(t, x)
	if out := judge.Run(t, "sgdisk", "-v", name); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	if out := judge.Run(t, "sfdisk", "--verify", name); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk: %s", out)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := gpt.Read(f, 512, 512)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.EqualFold(got.GUID, x.ID.String()) || got.Verify(f, uint64(x.Size)) != nil {
		t.Errorf("the disk is %s, want %s; %v", got.GUID, x.ID, got.Verify(f, uint64(x.Size)))
	}
	for i, want := range x.Partitions {
		p := got.Partitions[i]
		if p.Name != want.Name || string(p.Type) != want.Type.String() || !strings.EqualFold(p.GUID, want.ID.String()) ||
			int64(p.Start)*512 != want.Off || int64(p.Size) != want.Size || p.Attributes != want.Attributes {
			t.Errorf("partition %d is %+v, want %+v", i, p, want)
		}
	}
}

func TestGUID(t *testing.T) {
	if got := EFISystem.String(); got != "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" {
		t.Error(got)
	}
	a, b := NewGUID([]byte("x"), "a"), NewGUID([]byte("x"), "b")
	if s := a.String(); a == b || a != NewGUID([]byte("x"), "a") || s[14] != '8' || !strings.Contains("89AB", s[19:20]) {
		t.Errorf("%s and %s", a, b)
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[string]func(*Table){
		"cannot have a partition table": func(x *Table) { x.Size = 10 << 10 },
		"longer than 36":                func(x *Table) { x.Partitions[0].Name = strings.Repeat("n", 37) },
		"overlap":                       func(x *Table) { x.Partitions[0].Size += 512 },
		"cannot have":                   func(x *Table) { x.Partitions[1].Size += 1 << 20 },
		"boot code":                     func(x *Table) { x.BootCode = make([]byte, 441) },
	} {
		x := table()
		change(x)
		if _, err := x.Image(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q: %v", want, err)
		}
	}
}
