package formats

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lkx-os/lkx/exporters/erofs"
	"github.com/lkx-os/lkx/exporters/fat"
	"github.com/lkx-os/lkx/exporters/iso9660"
	"github.com/lkx-os/lkx/exporters/qcow2"
	"github.com/lkx-os/lkx/exporters/squashfs"
	"github.com/lkx-os/lkx/exporters/vmdk"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// contests are our writers against other programs. Both are given the same, DIR
// or the disk DISK that holds it as a file, and write the file OUT.
var contests = []struct {
	name  string
	ours  func(dir, disk string, out *os.File) error
	other string // a shell's command
}{
	{"squashfs, zstd", func(dir, _ string, out *os.File) error {
		t, err := tree.Dir(dir)
		if err != nil {
			return err
		}
		return squashfs.Write(out, t, squashfs.Options{})
	}, "mksquashfs $DIR $OUT -comp zstd -quiet -no-progress"},
	{"erofs", func(dir, _ string, out *os.File) error {
		t, err := tree.Dir(dir)
		if err != nil {
			return err
		}
		return erofs.Write(out, t, erofs.Options{})
	}, "mkfs.erofs --quiet -T0 $OUT $DIR"},
	{"ISO 9660", func(dir, _ string, out *os.File) error {
		t, err := tree.Dir(dir)
		if err != nil {
			return err
		}
		v, err := iso9660.New(t, iso9660.Options{Label: "BENCH"})
		if err != nil {
			return err
		}
		return v.Image.Save(out)
	}, "xorriso -as mkisofs -quiet -R -o $OUT $DIR"},
	{"FAT, one file", func(_, disk string, out *os.File) error {
		v, err := fat.New([]fat.File{{Path: "DISK.IMG", Contents: fileOf(disk)}}, fat.Options{Align: partAlign})
		if err != nil {
			return err
		}
		return v.Image.Save(out)
	}, "truncate -s $(($(stat -c %s $DISK) + 2097152)) $OUT && mformat -i $OUT -F :: && mcopy -i $OUT $DISK ::DISK.IMG"},
	{"qcow2", func(_, disk string, out *os.File) error {
		image, err := qcow2.New(fileOf(disk))
		if err != nil {
			return err
		}
		return image.Save(out)
	}, "qemu-img convert -f raw -O qcow2 $DISK $OUT"},
	{"VMDK, compressed", func(_, disk string, out *os.File) error {
		_, err := vmdk.Write(context.Background(), out, fileOf(disk), vmdk.Options{Name: "bench.vmdk"})
		return err
	}, "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized $DISK $OUT"},
}

// fileOf is a file as one piece.
func fileOf(name string) *sparse.File {
	info, err := os.Stat(name)
	if err != nil {
		panic(err) // the caller has just made it
	}
	f := &sparse.File{}
	f.PutSource(0, info.Size(), func() (io.ReadCloser, error) { return os.Open(name) })
	return f
}

// runs is how often each is run; the table has medians.
const runs = 3

// TestWriters prints a table: our writers against other programs, with the tree
// in the directory LKX_BENCH. make bench-writers runs it.
func TestWriters(t *testing.T) {
	dir := os.Getenv("LKX_BENCH")
	if dir == "" {
		t.Skip("a benchmark: make bench-writers")
	}
	if name := os.Getenv("LKX_BENCH_CHILD"); name != "" {
		child(t, name, dir)
		return
	}
	out := t.TempDir()
	disk := filepath.Join(out, "disk.img")
	if text, err := exec.Command("sh", "-c", fmt.Sprintf("tar -C %s -cf %s . && truncate -s %%1M %s", dir, disk, disk)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	fmt.Println("| | ours | | | other | | | ratios | | |\n|---|---|---|---|---|---|---|---|---|---|\n| | s | MiB of memory | MiB | s | MiB of memory | MiB | time | memory | size |")
	for _, c := range contests {
		var ours, other []result
		for range runs { // by turns: the machine may be busier at times
			ours = append(ours, measure(t, out, exec.Command(os.Args[0], "-test.run=^TestWriters$"), "LKX_BENCH_CHILD="+c.name, disk, dir))
			other = append(other, measure(t, out, exec.Command("sh", "-c", c.other), "", disk, dir))
		}
		a, b := median(ours), median(other)
		fmt.Printf("| %s | %.2f | %.0f | %.1f | %.2f | %.0f | %.1f | %.2f | %.2f | %.3f |\n", c.name,
			a.seconds, a.memory, a.size, b.seconds, b.memory, b.size, a.seconds/b.seconds, a.memory/b.memory, a.size/b.size)
	}
}

// child is this program as a writer alone, so that its memory can be measured.
func child(t *testing.T, name, dir string) {
	out, err := os.Create(os.Getenv("OUT"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, c := range contests {
		if c.name == name {
			if err := c.ours(dir, os.Getenv("DISK"), out); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// result is of one run: seconds, MiB of memory at most, MiB on disk.
type result struct{ seconds, memory, size float64 }

// measure runs a command.
func measure(t *testing.T, dir string, cmd *exec.Cmd, env, disk, tree string) result {
	t.Helper()
	file := filepath.Join(dir, "out")
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), env, "OUT="+file, "DISK="+disk, "DIR="+tree)
	began := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, text)
	}
	took := time.Since(began)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	used := float64(info.Sys().(*syscall.Stat_t).Blocks) * 512 / mib
	return result{took.Seconds(), float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024, used}
}

func median(list []result) result {
	slices.SortFunc(list, func(a, b result) int { return int((a.seconds - b.seconds) * 1e6) })
	return list[len(list)/2]
}
