package qcow2

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// noise does not compress, text does.
func noise(n int) []byte {
	out := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

func text(n int) []byte {
	var out bytes.Buffer
	for i := 0; out.Len() < n; i++ {
		fmt.Fprintf(&out, "line %d of %d\n", i, i*i)
	}
	return out.Bytes()[:n]
}

type diskTest struct {
	*sparse.File
	clusters       int // allocated, if not compressed
	full, deflated int // if compressed: allocated, and how many of them deflated
}

func disks() map[string]diskTest {
	put := func(size int64, at map[int64][]byte) *sparse.File {
		var f sparse.File
		for off, data := range at {
			f.Put(off, data)
		}
		f.Resize(size)
		return &f
	}
	const mib = 1 << 20
	mixed := append(append(noise(1*mib), text(12*mib)...), noise(7*mib)...)
	clear(mixed[3*mib : 4*mib])
	return map[string]diskTest{
		"tiny":  {put(mib, map[int64][]byte{0: []byte("first"), mib - 4: []byte("last")}), 2, 2, 2},
		"empty": {put(5*mib, nil), 0, 0, 0},
		"odd":   {put(3*mib+512, map[int64][]byte{3*mib - 7: noise(7 + 512)}), 2, 2, 2},
		"full":  {put(20*mib, map[int64][]byte{0: mixed}), 320, 304, 176},
		"sparse": {put(10<<30, map[int64][]byte{
			0: noise(1), 512*mib - 70000: text(140000), // over the border of an L2 table
			1<<32 - 1: noise(2), 5<<30 + 12345: noise(100), 10<<30 - 3: []byte("end"),
		}), 9, 9, 9},
	}
}

func create(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func save(t testing.TB, f *sparse.File, name string) string {
	t.Helper()
	out := create(t, name)
	if err := f.Save(out); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// agree has qemu-img check image, and compare it with disk.
func agree(t *testing.T, image string, disk *sparse.File, allocated, deflated int) {
	t.Helper()
	var info struct {
		Format string
		Size   int64 `json:"virtual-size"`
	}
	var check struct {
		Allocated  int `json:"allocated-clusters"`
		Compressed int `json:"compressed-clusters"`
	}
	if err := json.Unmarshal([]byte(judge.Run(t, "qemu-img", "info", "--output=json", image)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Format != "qcow2" || info.Size != disk.Size() {
		t.Errorf("qemu-img sees %+v, want qcow2 of %d bytes", info, disk.Size())
	}
	if err := json.Unmarshal([]byte(judge.Run(t, "qemu-img", "check", "--output=json", image)), &check); err != nil {
		t.Fatal(err)
	}
	if check.Allocated != allocated || check.Compressed != deflated {
		t.Errorf("qemu-img counts %+v, want %d and %d", check, allocated, deflated)
	}
	raw, back := save(t, disk, "raw"), filepath.Join(t.TempDir(), "back")
	judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, image)
	judge.Run(t, "qemu-img", "convert", "-O", "raw", image, back)
	judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, back)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestByJudge(t *testing.T) {
	for name, disk := range disks() {
		t.Run(name, func(t *testing.T) {
			var images []string
			for range 2 {
				image, err := New(disk.File)
				if err != nil {
					t.Fatal(err)
				}
				images = append(images, save(t, image, "image"))
			}
			agree(t, images[0], disk.File, disk.clusters, 0)
			if !bytes.Equal(read(t, images[0]), read(t, images[1])) {
				t.Error("the same disk gave two images")
			}
		})
		t.Run(name+" compressed", func(t *testing.T) {
			var images []string
			for _, workers := range []int{3, 1} {
				image := create(t, "image")
				if err := WriteCompressed(t.Context(), image, disk.File, workers); err != nil {
					t.Fatal(err)
				}
				images = append(images, image.Name())
			}
			agree(t, images[0], disk.File, disk.full, disk.deflated)
			if !bytes.Equal(read(t, images[0]), read(t, images[1])) {
				t.Error("the same disk gave two images")
			}
		})
	}
}

// TestWindow holds the compressor to the distance that QEMU inflates with:
// noise that repeats beyond it does not compress.
func TestWindow(t *testing.T) {
	for period, want := range map[int]bool{4096 - 300: true, 4096 + 300: false} {
		data := bytes.Repeat(noise(period), clusterSize/period+1)[:clusterSize]
		got := 0
		err := deflate(t.Context(), bytes.NewReader(data), 1, 1, func(packed []byte) error {
			got = len(packed)
			return nil
		})
		if err != nil || (got < clusterSize) != want {
			t.Errorf("noise with a period of %d: %d bytes, %v", period, got, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	for want, size := range map[string]int64{"whole sectors": 1000, "0 bytes": 0, "1 PiB": maxSize + 512} {
		var disk sparse.File
		disk.Resize(size)
		if _, err := New(&disk); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := WriteCompressed(t.Context(), create(t, "image"), &disk, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestFailures ends a compression early, from each side.
func TestFailures(t *testing.T) {
	var short sparse.File
	short.PutSource(0, 8<<20, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text(7 << 20))), nil
	})
	if err := WriteCompressed(t.Context(), create(t, "image"), &short, 2); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that ends: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteCompressed(ctx, create(t, "image"), disks()["full"].File, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("no time left: %v", err)
	}
	full := create(t, "image")
	full.Close()
	if err := WriteCompressed(t.Context(), full, disks()["full"].File, 2); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a file that takes nothing: %v", err)
	}
	failed := errors.New("failed")
	if err := deflate(t.Context(), bytes.NewReader(text(8<<20)), 128, 2, func([]byte) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a packer that fails: %v", err)
	}
}

// half is a disk of 200 MB with data in every other mebibyte.
func half(b *testing.B) *sparse.File {
	data := create(b, "data")
	if _, err := data.Write(append(text(70<<20), noise(30<<20)...)); err != nil {
		b.Fatal(err)
	}
	var all, disk sparse.File
	all.PutSource(0, 100<<20, func() (io.ReadCloser, error) { return os.Open(data.Name()) })
	for i := range int64(100) {
		disk.PutFile(2*i<<20, all.Section(i<<20, 1<<20))
	}
	disk.Resize(200 << 20)
	return &disk
}

func Benchmark(b *testing.B) {
	disk := half(b)
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			image, err := New(disk)
			if err != nil {
				b.Fatal(err)
			}
			save(b, image, "image")
		}
	})
	b.Run("compressed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := WriteCompressed(b.Context(), create(b, "image"), disk, 2); err != nil {
				b.Fatal(err)
			}
		}
	})
}
