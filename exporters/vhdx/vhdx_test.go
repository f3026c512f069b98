package vhdx

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/internal/sparse"
)

var options = Options{FileWrite: [16]byte{1}, DataWrite: [16]byte{2}, Page83: [16]byte{3}}

func noise(n int) []byte {
	out := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

func disk(size int64, at map[int64][]byte) *sparse.File {
	var f sparse.File
	for off, data := range at {
		f.Put(off, data)
	}
	f.Resize(size)
	return &f
}

const gib = 1 << 30

var disks = map[string]struct {
	*sparse.File
	block, blocks int64
}{
	"tiny":  {disk(mib, map[int64][]byte{0: []byte("first"), mib - 4: []byte("last")}), mib, 1},
	"empty": {disk(5*mib, nil), mib, 0},
	"odd":   {disk(3*mib+512, map[int64][]byte{3*mib - 7: noise(7 + 512)}), mib, 2},
	"full":  {disk(20*mib, map[int64][]byte{0: noise(20 * mib)}), mib, 20},
	"sparse": {disk(10*gib, map[int64][]byte{
		0: noise(1), 512*mib - 70000: noise(140000), 5*gib + 12345: noise(100), 10*gib - 3: []byte("end"),
		4*gib - 1: noise(2), // over the border of a chunk
	}), mib, 7},
	"large":   {disk(200*gib, map[int64][]byte{4*gib - 1: noise(2), 8 * gib: noise(1)}), 2 * mib, 3},
	"largest": {disk(maxSize, map[int64][]byte{64: noise(1), 64*gib - 1: noise(2)}), 256 * mib, 3},
}

func save(t *testing.T, f *sparse.File, name string) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := f.Save(out); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

func TestByJudge(t *testing.T) {
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) {
			image, err := New(disk.File, options)
			if err != nil {
				t.Fatal(err)
			}
			if got := (image.Size() - 4*mib) / disk.block; got != disk.blocks {
				t.Errorf("the image has %d blocks, want %d", got, disk.blocks)
			}
			agree(t, save(t, image, "image"), disk.File, disk.block)
		})
	}
}

// agree has qemu-img check image, and compare it with disk.
func agree(t *testing.T, image string, disk *sparse.File, block int64) {
	t.Helper()
	var info struct {
		Format string
		Size   int64 `json:"virtual-size"`
		Block  int64 `json:"cluster-size"`
	}
	if err := json.Unmarshal([]byte(judge.Run(t, "qemu-img", "info", "--output=json", image)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Format != "vhdx" || info.Size != disk.Size() || info.Block != block {
		t.Errorf("qemu-img sees %+v, want vhdx of %d bytes in blocks of %d", info, disk.Size(), block)
	}
	if out := judge.Run(t, "qemu-img", "check", image); !strings.Contains(out, "No errors were found") {
		t.Errorf("qemu-img check: %s", out)
	}
	if disk.Size() <= gib {
		raw, back := save(t, disk, "raw"), filepath.Join(t.TempDir(), "back")
		judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "vhdx", raw, image)
		judge.Run(t, "qemu-img", "convert", "-O", "raw", image, back)
		judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, back)
		return
	}
	// qemu-img reads the holes of a VHDX, too: look around the data only.
	for _, r := range disk.Runs(4 * mib) {
		off := max(0, r.Off-4*mib)
		size := min(16*mib, disk.Size()-off)
		raw := save(t, disk.Section(off, size), "part")
		judge.Run(t, "qemu-img", "compare", "--image-opts", "driver=raw,file.filename="+raw,
			fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=vhdx,file.file.filename=%s", off, size, image))
	}
}

func TestDeterministic(t *testing.T) {
	var images [2][]byte
	for i := range images {
		image, err := New(disks["full"].File, options)
		if err != nil {
			t.Fatal(err)
		}
		r, err := image.Open()
		if err != nil {
			t.Fatal(err)
		}
		if images[i], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same disk gave two images")
	}
}

// TestGUID writes a GUID that [MS-VHDX] prints in both forms.
func TestGUID(t *testing.T) {
	want := []byte{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	if got := appendGUID(nil, regionBAT); !bytes.Equal(got, want) {
		t.Errorf("the region's GUID is % x, want % x", got, want)
	}
}

func TestRefuses(t *testing.T) {
	for want, size := range map[string]int64{"whole sectors": 1000, "0 bytes": 0, "64 TiB": maxSize + 512} {
		if _, err := New(disk(size, nil), options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
