package gcp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/internal/sparse"
)

const epoch = 1700000000

// noise is size bytes without a zero.
func noise(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(1 + r.UintN(255))
	}
	return out
}

// pieces is a disk of n pieces of 4 to 28 KiB, the last one at its end if last
// says so.
func pieces(n int, size int64, last bool) *sparse.File {
	disk := &sparse.File{}
	for i := range n {
		disk.Put(int64(i)<<17, noise(4096*(1+i%7), uint64(i)))
	}
	if last {
		disk.Put(size-4096, noise(4096, 99))
	}
	disk.Resize(size)
	return disk
}

// disks are made anew for each use. The map of the header has 4 places and each
// extension 21.
func disks() map[string]*sparse.File {
	odd := &sparse.File{} // 1 GiB - 100 KB
	odd.Put(0, []byte("first"))
	odd.Put(5000, noise(4000, 1)) // nearer than a hole may be
	odd.Put(9<<20, slices.Concat(make([]byte, 20000), noise(70000, 2), make([]byte, 20000)))
	odd.Resize(1<<30 - 100e3)

	large := &sparse.File{}
	large.Put(1<<20, noise(1<<20, 3))
	large.Put(8<<30-4096, noise(8192, 4))
	large.Put(9<<30+5000, noise(10, 5))

	empty := &sparse.File{}
	empty.Resize(1)
	return map[string]*sparse.File{
		"empty": empty, "odd": odd, "large": large,
		"3":  pieces(3, 1<<30, false),
		"4":  pieces(3, 1<<30, true),
		"5":  pieces(4, 1<<30, false),
		"25": pieces(25, 1<<30, false),
		"26": pieces(25, 1<<30, true),
		"67": pieces(67, 2<<30, false),
	}
}

func write(t testing.TB, disk *sparse.File) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, disk, Options{Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestByTar lists and unpacks images with GNU tar.
func TestByTar(t *testing.T) {
	judge.Need(t, "tar")
	for name, disk := range disks() {
		t.Run(name, func(t *testing.T) {
			img := write(t, disk)
			size := map[string]string{"large": "10737418240", "67": "2147483648"}[name]
			if size == "" {
				size = "1073741824"
			}
			want := "-rw-r--r-- 0/0 " + size + " 2023-11-14 22:13:20 disk.raw"
			if got := strings.Join(strings.Fields(judge.Feed(t, img, "tar", "-tvz", "--full-time")), " "); got != want {
				t.Errorf("tar lists %q, want %q", got, want)
			}
			dir := t.TempDir()
			if out := judge.Feed(t, img, "tar", "-xzS", "-C", dir); out != "" {
				t.Errorf("tar says %s", out)
			}
			compare(t, filepath.Join(dir, member), disk)
		})
	}
}

// compare compares a file with a disk: its size, and the disk's pieces with
// some of the holes around them.
func compare(t *testing.T, name string, disk *sparse.File) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != Size(disk.Size()) {
		t.Fatalf("%s has %d bytes, want %d (%v)", name, info.Size(), Size(disk.Size()), err)
	}
	const around = 64 << 10
	for _, r := range disk.Runs(around) {
		off, end := max(0, r.Off-around), min(info.Size(), r.Off+r.Size+around)
		in, err := disk.Section(off, end-off).Open()
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
			t.Errorf("bytes %d to %d differ (%v)", off, end, err)
		}
	}
}

// TestSameAsTar has GNU tar archive the same file: but for the zeros that it
// adds to make whole records, the bytes are the same.
func TestSameAsTar(t *testing.T) {
	judge.Need(t, "tar")
	for _, n := range []int{0, 3, 4, 5, 24, 25, 26, 46, 47} {
		disk := pieces(n, 8<<20, n%2 == 0)
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, member))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(disk.Save(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		want := judge.Feed(t, nil, "tar", "-cS", "--format=oldgnu", "--hole-detection=raw", "--numeric-owner", "--owner=0",
			"--group=0", "--mode=0644", "--mtime=@1700000000", "-C", dir, member)
		var got bytes.Buffer
		if err := archive(&got, disk, epoch); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(want, got.String()) || strings.Trim(want[got.Len():], "\x00") != "" {
			t.Errorf("%d pieces: GNU tar's archive has %d bytes, ours %d, or they differ", n, len(want), got.Len())
		}
	}
}

// TestByGo reads images with the standard library.
func TestByGo(t *testing.T) {
	for name, disk := range disks() {
		z, err := gzip.NewReader(bytes.NewReader(write(t, disk)))
		if err != nil {
			t.Fatal(err)
		}
		if !z.ModTime.IsZero() || z.Name != "" || z.Comment != "" || z.OS != 255 {
			t.Errorf("%s: the gzip header is %+v", name, z.Header)
		}
		a := tar.NewReader(z)
		h, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != member || h.Typeflag != tar.TypeGNUSparse || h.Format != tar.FormatGNU || h.Size != Size(disk.Size()) {
			t.Errorf("%s: the header is %+v", name, h)
		}
		if _, err := a.Next(); err != io.EOF {
			t.Errorf("%s: behind the member: %v", name, err)
		}
		if n, err := io.Copy(io.Discard, z); n != 0 || err != nil {
			t.Errorf("%s: %d bytes behind the archive, %v", name, n, err)
		}
	}
}

func TestDeterminism(t *testing.T) {
	disk := &sparse.File{}
	text := bytes.Repeat([]byte("much the same, again and again. "), 1<<17)
	for i := range 6 {
		disk.Put(int64(i)<<23, slices.Concat(text[i:], noise(1<<20, uint64(i))))
	}
	want := write(t, disk)
	for _, n := range []int{1, 4} {
		before := runtime.GOMAXPROCS(n)
		got := write(t, disk)
		runtime.GOMAXPROCS(before)
		if !bytes.Equal(got, want) {
			t.Errorf("%d processors write other bytes", n)
		}
	}
}

func TestRefuses(t *testing.T) {
	short := &sparse.File{}
	short.PutSource(0, 10, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil })
	tiny := &sparse.File{}
	tiny.Put(0, []byte("tiny"))
	for _, c := range []struct {
		disk *sparse.File
		o    Options
		want string
	}{
		{&sparse.File{}, Options{}, "empty"},
		{short, Options{}, "unexpected EOF"},
		{tiny, Options{Epoch: -1}, "time -1"},
		{tiny, Options{Epoch: 1 << 33}, "time 8589934592"},
		{tiny, Options{Level: 10}, "level 10"},
		{tiny, Options{Level: -1}, "level -1"},
	} {
		if err := Write(io.Discard, c.disk, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error is %v, want %q", err, c.want)
		}
	}
	if err := Write(full{}, tiny, Options{}); !errors.Is(err, errFull) {
		t.Errorf("on a full disk, the error is %v", err)
	}
}

// full is a file whose disk is full.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }
