package formats

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/tree"
)

// TestRoots looks at what goes onto a disk, and into the initrd that finds it.
func TestRoots(t *testing.T) {
	in := input(t)
	small := unpacked(t, in.Disks[rootSquashfs].Initrd)
	want := strings.Fields("dev init lib lib/modules lib/modules/6.1 lib/modules/6.1/kernel lib/modules/6.1/kernel/squashfs.ko lib/modules/6.1/modules.dep proc sys")
	if d := cmp.Diff(want, small); d != "" {
		t.Errorf("the small initrd:\n%s", d)
	}
	image := filepath.Join(t.TempDir(), "root")
	copyBlob(t, in.Disks[rootSquashfs].Image, image)
	list := judge.Run(t, "unsquashfs", "-lls", image)
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "var", "bin/ping"} {
		if !strings.Contains(list, "squashfs-root/"+dir+"\n") {
			t.Errorf("the root has no %s:\n%s", dir, list)
		}
	}
	if strings.Contains(list, "boot") {
		t.Errorf("the root has /boot:\n%s", list)
	}
	for kind, d := range in.Disks {
		if by, name, _ := strings.Cut(d.Which, "="); by == "" || len(name) < 28 {
			t.Errorf("%s: it is known as %q", kind, d.Which)
		}
	}
}

// TestRootOfOthers is that of a system whose init finds no disk: the kernel
// mounts it, and disks cannot have it.
func TestRootOfOthers(t *testing.T) {
	var b tree.Builder
	put(t, &b, tree.Entry{Path: "init", Mode: tree.TypeRegular | 0o755}, "another init")
	in := input(t)
	in.Disks[rootSquashfs] = onDiskOf(t, rootSquashfs, b.Tree())
	if list := unpacked(t, in.Disks[rootSquashfs].Initrd); list != nil {
		t.Errorf("the initrd holds %v", list)
	}
	in.Disk = rootSquashfs
	if _, err := disk(in, both, partAlign); err == nil || !strings.Contains(err.Error(), "init does not look") {
		t.Errorf("a disk that cannot boot: %v", err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	_, root := system(t)
	if err := WriteRoot(out, root, RootOptions{Kind: rootISO}); err == nil || !strings.Contains(err.Error(), "bin/ping") {
		t.Errorf("attributes on an ISO 9660: %v", err)
	}
}

func copyBlob(t *testing.T, b Blob, name string) {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil || int64(len(data)) != b.Size {
		t.Fatalf("%d bytes of %d, %v", len(data), b.Size, err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// unpacked are the names in an initrd.
func unpacked(t *testing.T, b Blob) []string {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	z, err := zstd.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var archive bytes.Buffer
	if _, err := archive.ReadFrom(z); err != nil && archive.Len() == 0 { // padding follows
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(judge.Feed(t, archive.Bytes(), "cpio", "-t", "--quiet")) {
		if name := strings.TrimSpace(line); name != "" && name != "." {
			out = append(out, name)
		}
	}
	return out
}
