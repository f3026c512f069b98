package vmdk

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
	"slices"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/internal/sparse"
)

var options = Options{LongID: [16]byte([]byte("0123456789abcdef")), Name: "disk.vmdk"}

// noise is size bytes, a share of them random and the rest runs of one byte.
func noise(size, seed int, share float64) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	out := make([]byte, size)
	for i := 0; i < size; i += 512 {
		part := out[i:min(i+512, size)]
		for j := range part {
			part[j] = byte(i >> 9)
		}
		if r.Float64() < share {
			for j := range part {
				part[j] = byte(r.Uint32())
			}
		}
	}
	return out
}

// disks are made anew for each use.
func disks() map[string]*sparse.File {
	tiny := &sparse.File{}
	tiny.Put(446, []byte("a partition table"))
	tiny.Resize(512)

	odd := &sparse.File{} // 10 GiB and 3 bytes
	odd.Put(0, []byte("first"))
	odd.Put(65535, noise(2, 1, 1))
	odd.Put(3<<20+17, noise(300<<10, 2, 0.5))
	odd.Put(32<<20-1, noise(1, 3, 1)) // the last of a grain table, and of no other
	odd.Put(100<<20, slices.Concat(make([]byte, 200<<10), []byte("x"), make([]byte, 200<<10)))
	odd.Put(5<<30+4096, noise(1<<20, 4, 0.1))
	odd.Put(10<<30, []byte("end"))

	full := &sparse.File{}
	full.Put(0, noise(30<<20, 5, 0.6))

	random := &sparse.File{} // does not compress: grains get longer
	random.Put(0, noise(1<<20, 6, 1))

	empty := &sparse.File{}
	empty.Resize(128 << 20)
	return map[string]*sparse.File{"tiny": tiny, "odd": odd, "full": full, "random": random, "zeros": empty}
}

// write writes an image into a new file and returns its path.
func write(t testing.TB, disk *sparse.File, o Options) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := Write(context.Background(), f, disk, o)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Fatalf("Write tells of %d bytes, the file has %d (%v)", size, info.Size(), err)
	}
	return f.Name()
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestLayout reads images back with the parser above, and compares.
func TestLayout(t *testing.T) {
	for name, disk := range disks() {
		t.Run(name, func(t *testing.T) {
			img := parse(t, read(t, write(t, disk, options)))
			if over := img.capacity - disk.Size(); over < 0 || over >= 64<<10 || img.capacity != Capacity(disk.Size()) {
				t.Errorf("the image has %d bytes, the disk %d", img.capacity, disk.Size())
			}
			found := 0
			for _, run := range disk.Runs(64 << 10) {
				for off := run.Off; off < run.Off+run.Size; off += 64 << 10 {
					want, err := readAll(disk.Section(off, 64<<10))
					if err != nil {
						t.Fatal(err)
					}
					got, ok := img.grains[off>>16]
					if ok {
						found++
					} else {
						got = make([]byte, 64<<10)
					}
					if !bytes.Equal(got, want) {
						t.Errorf("the grain at %d differs", off)
					}
				}
			}
			if found != len(img.grains) {
				t.Errorf("%d grains are in holes", len(img.grains)-found)
			}
		})
	}
}

func readAll(f *sparse.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestDeterminism writes each disk with one worker and with several, twice.
func TestDeterminism(t *testing.T) {
	for name, disk := range disks() {
		t.Run(name, func(t *testing.T) {
			var first []byte
			for _, workers := range []int{1, 4, 4, 0} {
				o := options
				o.Workers = workers
				got := read(t, write(t, disk, o))
				if first == nil {
					first = got
				}
				if !bytes.Equal(got, first) {
					t.Errorf("%d workers write other bytes", workers)
				}
			}
		})
	}
}

func TestDescriptor(t *testing.T) {
	disk := &sparse.File{}
	disk.Resize(1<<30 + 1)
	lines := parse(t, read(t, write(t, disk, options))).lines
	for _, want := range []string{
		"CID=63646566",
		`createType="streamOptimized"`,
		`RW 2097280 SPARSE "disk.vmdk"`,
		`ddb.longContentID = "30313233343536373839616263646566"`,
		`ddb.geometry.cylinders = "131"`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	o := options
	copy(o.LongID[12:], "\xff\xff\xff\xfe")
	if lines := parse(t, read(t, write(t, disk, o))).lines; !slices.Contains(lines, "CID=7ffffffe") {
		t.Errorf("a reserved content id was written: %s", lines[3])
	}
}

// TestByJudge lets QEMU compare images with the disks, and convert one back.
func TestByJudge(t *testing.T) {
	judge.Need(t, "qemu-img")
	for name, disk := range disks() {
		t.Run(name, func(t *testing.T) {
			img := write(t, disk, options)
			raw := save(t, disk)
			var info struct {
				Format string `json:"format"`
				Size   int64  `json:"virtual-size"`
				Spec   struct {
					Data struct {
						CID     uint32            `json:"cid"`
						Parent  uint32            `json:"parent-cid"`
						Type    string            `json:"create-type"`
						Extents []json.RawMessage `json:"extents"`
					} `json:"data"`
				} `json:"format-specific"`
			}
			out := judge.Run(t, "qemu-img", "info", "--output=json", img)
			if err := json.Unmarshal([]byte(out), &info); err != nil {
				t.Fatal(err)
			}
			data := info.Spec.Data
			if info.Format != "vmdk" || info.Size != Capacity(disk.Size()) || data.Type != "streamOptimized" ||
				data.CID != 0x63646566 || data.Parent != 0xffffffff || len(data.Extents) != 1 {
				t.Errorf("QEMU sees another image: %s", out)
			}
			judge.Run(t, "qemu-img", "check", img)
			judge.Run(t, "qemu-img", "compare", img, raw)
			back := filepath.Join(t.TempDir(), "raw")
			judge.Run(t, "qemu-img", "convert", "-O", "raw", img, back)
			judge.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", back, raw)
		})
	}
}

// save writes disk as a raw image, padded as the VMDK is: then a difference in
// length cannot hide.
func save(t testing.TB, disk *sparse.File) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(disk.Save(f), f.Truncate(Capacity(disk.Size()))); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestRefuses(t *testing.T) {
	large := &sparse.File{}
	large.Resize(2<<40 + 1)
	short := &sparse.File{}
	short.PutSource(0, 1<<20, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil })
	closed := &sparse.File{}
	closed.PutSource(0, 10, func() (io.ReadCloser, error) { return nil, errors.New("not there") })
	tiny := disks()["tiny"]
	for _, c := range []struct {
		disk *sparse.File
		name string
		want string
	}{
		{&sparse.File{}, "a", "empty"},
		{large, "a", "2 TiB"},
		{short, "a", "unexpected EOF"},
		{closed, "a", "not there"},
		{tiny, "", "named"},
		{tiny, "a\"b", "named"},
		{tiny, "a\nb", "named"},
		{tiny, strings.Repeat("a", 256), "named"},
		{tiny, "\xff", "named"},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "disk.vmdk"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Write(context.Background(), f, c.disk, Options{Name: c.name, Workers: 2})
		f.Close()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: the error is %v, want %q", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Write(ctx, full{}, disks()["full"], options); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled, the error is %v", err)
	}
	if _, err := Write(context.Background(), full{}, disks()["full"], options); !errors.Is(err, errFull) {
		t.Errorf("on a full disk, the error is %v", err)
	}
}

// full is a file whose disk is full.
type full struct{}

var errFull = fmt.Errorf("no space left")

func (full) Write([]byte) (int, error)      { return 0, errFull }
func (full) Seek(int64, int) (int64, error) { return 0, nil }
