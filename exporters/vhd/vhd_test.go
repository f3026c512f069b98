package vhd

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

const mib = 1 << 20

var options = Options{UUID: [16]byte{0xfa, 0x11, 15: 0x99}, Epoch: 1700000000}

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

var disks = map[string]struct {
	*sparse.File
	blocks int64 // of a dynamic disk
}{
	"tiny":  {disk(mib, map[int64][]byte{0: []byte("first"), mib - 4: []byte("last")}), 1},
	"empty": {disk(5*mib, nil), 0},
	"odd":   {disk(3*mib+512, map[int64][]byte{3*mib - 7: noise(7 + 512)}), 1},
	"full":  {disk(20*mib, map[int64][]byte{0: noise(20 * mib)}), 10},
	"sparse": {disk(10<<30, map[int64][]byte{
		0: noise(1), 512*mib - 70000: noise(140000), 1<<32 - 1: noise(2), 5<<30 + 12345: noise(100), 10<<30 - 3: []byte("end"),
	}), 7},
	"largest": {disk(maxSize, map[int64][]byte{maxSize - 3: []byte("end")}), 1},
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

// agree has qemu-img compare image with disk.
func agree(t *testing.T, image *sparse.File, size int64, disk *sparse.File) {
	t.Helper()
	name, raw, back := save(t, image, "image"), save(t, disk, "raw"), filepath.Join(t.TempDir(), "back")
	var info struct {
		Format string
		Size   int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(judge.Run(t, "qemu-img", "info", "-f", "vpc", "--output=json", name)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Format != "vpc" || info.Size != size {
		t.Errorf("qemu-img sees %+v, want vpc of %d bytes", info, size)
	}
	judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, name)
	judge.Run(t, "qemu-img", "convert", "-f", "vpc", "-O", "raw", name, back)
	judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, back)
	footer := save(t, image.Section(image.Size()-512, 512), "footer")
	want := fmt.Sprintf("Creator lkx  1.0 (W2k) Tue Nov 14 22:13:20 2023, %d bytes, CHS 65535/16/255", size)
	if out := judge.Run(t, "file", "-b", footer); !strings.Contains(out, want) {
		t.Errorf("file sees %s, want %s", out, want)
	}
}

func TestFixed(t *testing.T) {
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) {
			image, err := Fixed(disk.File, options)
			if err != nil {
				t.Fatal(err)
			}
			want := disk.Size()
			if name == "odd" {
				want = 4 * mib
			}
			if image.Size() != want+512 {
				t.Errorf("the image has %d bytes, want %d", image.Size(), want+512)
			}
			agree(t, image, want, disk.File)
		})
	}
}

func TestDynamic(t *testing.T) {
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) {
			image, err := Dynamic(disk.File, options)
			if err != nil {
				t.Fatal(err)
			}
			blocks := (image.Size() - (disk.Size()+blockSize-1)/blockSize*4) / blockSize
			if blocks != disk.blocks {
				t.Errorf("the image holds %d blocks, want %d", blocks, disk.blocks)
			}
			agree(t, image, disk.Size(), disk.File)
		})
	}
}

func TestDeterministic(t *testing.T) {
	bytesOf := func(write func(*sparse.File, Options) (*sparse.File, error), o Options) []byte {
		image, err := write(disks["full"].File, o)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := image.Open()
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, write := range []func(*sparse.File, Options) (*sparse.File, error){Fixed, Dynamic} {
		one, two := bytesOf(write, options), bytesOf(write, options)
		if !bytes.Equal(one, two) {
			t.Error("the same disk gave two images")
		}
		if n := len(one); !bytes.Equal(bytesOf(write, Options{})[n-512:][24:28], make([]byte, 4)) {
			t.Error("a time before 2000 is not 2000")
		}
	}
}

func TestRefuses(t *testing.T) {
	for want, c := range map[string]struct {
		size int64
		Options
	}{
		"of 0 bytes": {},
		"2040 GiB":   {size: maxSize + 512},
		"does not":   {mib, Options{Epoch: 1 << 40}},
	} {
		if _, err := Fixed(disk(c.size, nil), c.Options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a fixed disk of %d bytes: %v", c.size, err)
		}
		if _, err := Dynamic(disk(c.size, nil), c.Options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a dynamic disk of %d bytes: %v", c.size, err)
		}
	}
	if _, err := Dynamic(disk(1000, nil), Options{}); err == nil || !strings.Contains(err.Error(), "whole sectors") {
		t.Errorf("a disk of 1000 bytes: %v", err)
	}
}
