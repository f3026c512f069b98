package vmdk

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/internal/sparse"
)

// realistic is a disk of 200 MiB, half of it programs of this machine.
func realistic(b *testing.B) *sparse.File {
	names, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		b.Fatal(err)
	}
	disk := &sparse.File{}
	at := int64(1 << 20)
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || at+info.Size() > 101<<20 {
			continue
		}
		disk.PutSource(at, info.Size(), func() (io.ReadCloser, error) { return os.Open(name) })
		at += (info.Size() + 4095) / 4096 * 4096
	}
	disk.Resize(200 << 20)
	return disk
}

func BenchmarkWrite(b *testing.B) {
	disk := realistic(b)
	b.SetBytes(100 << 20)
	b.ReportAllocs()
	var size int64
	for b.Loop() {
		info, err := os.Stat(write(b, disk, options))
		if err != nil {
			b.Fatal(err)
		}
		size = info.Size()
	}
	b.ReportMetric(float64(size)/1e6, "MB-image")
	b.ReportMetric(peak(b), "MB-peak")
}

// peak is the most memory this process had, in MB.
func peak(b *testing.B) float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Maxrss) / 1e3 // from KiB
}

// BenchmarkQEMU is the same work done by qemu-img.
func BenchmarkQEMU(b *testing.B) {
	raw := save(b, realistic(b))
	out := filepath.Join(b.TempDir(), "disk.vmdk")
	b.SetBytes(100 << 20)
	for b.Loop() {
		judge.Run(b, "qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, out)
	}
	info, err := os.Stat(out)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB-image")
}
