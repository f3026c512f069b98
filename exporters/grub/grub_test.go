package grub

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/sparse"
)

func TestDisk(t *testing.T) {
	boot, core := bytes.Repeat([]byte{1}, 512), bytes.Repeat([]byte{2}, 3*512+7)
	mbr, patched, err := Disk(boot, core, 34*512)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(mbr) != 440 || le.Uint64(mbr[0x5c:]) != 34 || mbr[0x64] != 0xff || mbr[0x66] != 0x90 || mbr[0x67] != 0x90 {
		t.Errorf("the master boot record is % x", mbr[0x5c:0x68])
	}
	if len(patched) != 4*512 || le.Uint64(patched[500:]) != 35 || le.Uint16(patched[508:]) != 3 || le.Uint16(patched[510:]) != 0x0202 {
		t.Errorf("the core's block list is % x", patched[500:512])
	}
	if boot[0x5c] != 1 || core[500] != 2 {
		t.Error("the input was changed")
	}
}

func TestElTorito(t *testing.T) {
	image, mbr, err := ElTorito(make([]byte, 4096), make([]byte, 512), 34*2048)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if got := le.Uint64(image[2548:]); got != 34*4+5 {
		t.Errorf("the image goes on at sector %d", got)
	}
	if got := le.Uint64(mbr[0x1b0:]); got != 34*4+4 {
		t.Errorf("the boot record goes on at sector %d", got)
	}
}

func TestConfig(t *testing.T) {
	got, err := Config(sparse.Run{Off: 1024, Size: 2048}, sparse.Run{Off: 4096, Size: 512}, " console=ttyS0  x=$y;{a} ")
	if want := "linux ($root)2+4 'console=ttyS0' 'x=$y;{a}'\ninitrd ($root)8+1\nboot\n"; err != nil || string(got) != want {
		t.Errorf("got %q, want %q (%v)", got, want, err)
	}
	for _, bad := range []string{"a\nboot", `dyndbg="file x +p"`, `a\b`, "it's"} {
		if _, err := Config(sparse.Run{}, sparse.Run{}, bad); err == nil || !strings.Contains(err.Error(), "at byte") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestBadBlobs(t *testing.T) {
	if _, _, err := Disk(make([]byte, 440), make([]byte, 4096), 512); err == nil {
		t.Error("a short boot.img is taken")
	}
	if _, _, err := Disk(make([]byte, 512), make([]byte, 4096), 513); err == nil {
		t.Error("core.img may lie between sectors")
	}
	if _, _, err := ElTorito(make([]byte, 512), make([]byte, 512), 512); err == nil {
		t.Error("a short eltorito.img is taken")
	}
}
