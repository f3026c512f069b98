package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/lkx-os/lkx/exporters/cpio"
	"github.com/lkx-os/lkx/tree"
)

func put(t *testing.T, b *tree.Builder, e tree.Entry, contents string) {
	t.Helper()
	if e.Type() == tree.TypeRegular {
		e.Size = int64(len(contents))
	}
	if err := b.Put(e, tree.Bytes(contents)); err != nil {
		t.Fatal(err)
	}
}

// system is a small one: what boots it, and what runs.
func system(t *testing.T) (boot, root tree.Tree) {
	t.Helper()
	var b, r tree.Builder
	put(t, &b, tree.Entry{Path: "boot", Mode: tree.TypeDir | 0o755}, "")
	put(t, &b, tree.Entry{Path: "boot/kernel", Mode: tree.TypeRegular | 0o644}, "the kernel")
	put(t, &b, tree.Entry{Path: "boot/cmdline", Mode: tree.TypeRegular | 0o644}, "console=ttyS0\n")
	put(t, &b, tree.Entry{Path: "boot/ucode.cpio", Mode: tree.TypeRegular | 0o644}, "microcode")
	put(t, &r, tree.Entry{Path: "boot/other", Mode: tree.TypeRegular | 0o644}, "not in an initrd")
	put(t, &r, tree.Entry{Path: "bin", Mode: tree.TypeDir | 0o755}, "")
	put(t, &r, tree.Entry{Path: "bin/ping", Mode: tree.TypeRegular | 0o755, Xattrs: map[string]string{"security.capability": "\x01\x00\xff"}}, strings.Repeat("ping", 5000))
	put(t, &r, tree.Entry{Path: "etc/motd", Mode: tree.TypeRegular | 0o644, UID: 5}, "hi")
	return b.Tree(), r.Overlay()
}

// bootable is the system with what finds its root on a disk.
func bootable(t *testing.T, system tree.Tree) tree.Tree {
	t.Helper()
	var r tree.Builder
	if err := r.Add("", system, nil); err != nil {
		t.Fatal(err)
	}
	put(t, &r, tree.Entry{Path: "boot/dtb/broadcom/bcm2837-rpi-3-b.dtb", Mode: tree.TypeRegular | 0o644}, "a device tree")
	put(t, &r, tree.Entry{Path: "init", Mode: tree.TypeRegular | 0o755}, "the init")
	put(t, &r, tree.Entry{Path: "usr/bin/lkx-services", Mode: tree.TypeRegular | 0o755}, "what it starts")
	put(t, &r, tree.Entry{Path: "lib/modules/6.1/lkx-initrd.list", Mode: tree.TypeRegular | 0o644}, "modules.dep\nkernel/squashfs.ko\n")
	put(t, &r, tree.Entry{Path: "lib/modules/6.1/modules.dep", Mode: tree.TypeRegular | 0o644}, "of modules")
	put(t, &r, tree.Entry{Path: "lib/modules/6.1/kernel/squashfs.ko", Mode: tree.TypeRegular | 0o644}, "a module")
	return r.Overlay()
}

func input(t *testing.T) Input {
	t.Helper()
	boot, root := system(t)
	in := Input{Base: "os", Boot: boot, Root: bootable(t, root), Arch: "amd64", Epoch: 1000}
	for _, name := range []string{"init[0]", "files"} {
		var buf bytes.Buffer
		if err := Segment(&buf, name, root, "", in.Epoch); err != nil {
			t.Fatal(err)
		}
		in.Initrd = append(in.Initrd, Blob{Size: int64(buf.Len()), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
		}})
	}
	in.Disks = map[string]*RootDisk{}
	for _, kind := range []string{rootSquashfs, rootErofs} {
		in.Disks[kind] = onDiskOf(t, kind, in.Root)
	}
	in.Disks[rootISO] = onDiskOf(t, rootISO, plain{in.Root})
	return in
}

// onDiskOf is t as a root file system on a disk.
func onDiskOf(t *testing.T, kind string, root tree.Tree) *RootDisk {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteRoot(f, root, RootOptions{Kind: kind, Epoch: 1000}); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ReadRoot(f.Name(), info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// written makes a format, and returns its files.
func written(t *testing.T, f Format, in Input) map[string]string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := f.Make(t.Context(), in, root); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		text, err := root.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

// TestConformance is what every format must do.
func TestConformance(t *testing.T) {
	name := regexp.MustCompile(`^[a-z0-9]+([+-][a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, f := range All {
		t.Run(f.Name, func(t *testing.T) {
			for _, n := range append(f.Aliases, f.Name) {
				if !name.MatchString(n) || seen[n] {
					t.Errorf("the name %q is wrong or taken", n)
				}
				seen[n] = true
				if got, err := Lookup(n); err != nil || got[0].Name != f.Name {
					t.Errorf("Lookup(%q) is %v, %v", n, got, err)
				}
			}
			if f.Doc == "" || strings.HasSuffix(f.Doc, ".") || len(f.Doc) > 100 {
				t.Errorf("its line is %q", f.Doc)
			}
			in := input(t)
			if f.Arches != nil && !slices.Contains(f.Arches, in.Arch) {
				in.Arch = f.Arches[0]
			}
			if f.Code {
				in.Code = component(t, "bootblobs", in.Arch)
			}
			first := written(t, f, in)
			want := slices.Sorted(slices.Values(f.Files("os")))
			var got []string
			for n := range first {
				got = append(got, n)
			}
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("its files are not those it declares:\n%s", d)
			}
			if d := cmp.Diff(first, written(t, f, in)); d != "" {
				t.Errorf("a second run gives other bytes")
			}
			in.Epoch++
			later := written(t, f, in)
			in.Base = "other"
			if len(written(t, f, in)) != len(later) {
				t.Error("the base name decides how many files there are")
			}
		})
	}
}

func TestKernelInitrd(t *testing.T) {
	in := input(t)
	files := written(t, All[0], in)
	if files["os-kernel"] != "the kernel" || files["os-cmdline"] != "console=ttyS0" {
		t.Errorf("kernel %q, command line %q", files["os-kernel"], files["os-cmdline"])
	}
	// Microcode first, not compressed, padded to where an archive may begin.
	rest, ok := strings.CutPrefix(files["os-initrd.img"], "microcode\x00\x00\x00")
	if !ok || int64(len(rest)) != in.Initrd[0].Size+in.Initrd[1].Size {
		t.Errorf("the initrd begins with %q and has %d bytes", files["os-initrd.img"][:16], len(rest))
	}
	in.Initrd[1].Size++
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := All[0].Make(t.Context(), in, root); err == nil || !strings.Contains(err.Error(), "ended 1 bytes early") {
		t.Errorf("a segment that is too short: %v", err)
	}
}

// TestSegment decompresses segments, and compares what is in them.
func TestSegment(t *testing.T) {
	_, root := system(t)
	var want tree.Builder
	put(t, &want, tree.Entry{Path: "bin", Mode: tree.TypeDir | 0o755}, "")
	put(t, &want, tree.Entry{Path: "bin/ping", Mode: tree.TypeRegular | 0o755}, strings.Repeat("ping", 5000))
	put(t, &want, tree.Entry{Path: "etc/motd", Mode: tree.TypeRegular | 0o644, UID: 5}, "hi")
	put(t, &want, tree.Entry{Path: ".lkx", Mode: tree.TypeDir | 0o755}, "")
	put(t, &want, tree.Entry{Path: ".lkx/xattrs-services-12.json", Mode: tree.TypeRegular | 0o600},
		`[{"path":"bin/ping","xattrs":{"security.capability":"AQD/"}}]`)
	var archive bytes.Buffer
	if err := cpio.Write(&archive, want.Overlay(), 77); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
		"gzip": func(r io.Reader) (io.Reader, error) {
			z, err := gzip.NewReader(r)
			if err == nil {
				z.Multistream(false) // the padding after it is not gzip
			}
			return z, err
		},
	} {
		var buf, again bytes.Buffer
		for _, b := range []*bytes.Buffer{&buf, &again} {
			if err := Segment(b, "services[12]", root, name, 77); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(buf.Bytes(), again.Bytes()) || buf.Len()%4 != 0 {
			t.Errorf("%s: %d bytes, and again %d", name, buf.Len(), again.Len())
		}
		unpadded := bytes.TrimRight(buf.Bytes(), "\x00")
		for len(unpadded) < buf.Len() { // what ends in zeros by itself
			if r, err := open(bytes.NewReader(unpadded)); err == nil {
				if _, err := io.Copy(io.Discard, r); err == nil {
					break
				}
			}
			unpadded = buf.Bytes()[:len(unpadded)+1]
		}
		r, err := open(bytes.NewReader(unpadded))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(text, archive.Bytes()) {
			t.Errorf("%s: another archive of %d bytes, want %d: %v", name, len(text), archive.Len(), err)
		}
	}
	if err := Segment(io.Discard, "x", root, "lzma", 0); err == nil || !strings.Contains(err.Error(), "there are: zstd, gzip") {
		t.Errorf("an unknown compression: %v", err)
	}
}

// TestArchives cuts a tree into archives: all names of a file stay together, and
// one worker writes what many write.
func TestArchives(t *testing.T) {
	var b tree.Builder
	for i := range 40 {
		text := strings.Repeat(fmt.Sprint("file ", i), 3000) // 21 or 24 KiB
		put(t, &b, tree.Entry{Path: fmt.Sprintf("d/%02d", i), Mode: tree.TypeRegular | 0o644}, text)
	}
	for name, target := range map[string]string{"d/05b": "d/05", "d/12b": "d/05", "d/11b": "d/11"} {
		if err := b.Link(name, target); err != nil {
			t.Fatal(err)
		}
	}
	root := b.Tree()
	list, err := cut(root, 50_000)
	if err != nil {
		t.Fatal(err)
	}
	at := map[int]int{} // a hard link group's archive
	var paths, want []string
	for i, part := range list {
		for e, err := range part.All() {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, e.Path)
			if other, ok := at[e.Hard]; ok && e.Hard != 0 && other != i {
				t.Errorf("%s is in archive %d, another name of it in %d", e.Path, i, other)
			}
			at[e.Hard] = i
		}
	}
	for e := range root.All() {
		want = append(want, e.Path)
	}
	if !slices.Equal(paths, want) || len(list) < 10 || len(list) > 20 {
		t.Errorf("%d archives with %q", len(list), paths)
	}
	sameByAll(t, list)
}

// sameByAll compares what one worker writes with what many write, and with the
// archives one after another.
func sameByAll(t *testing.T, list []tree.Tree) {
	t.Helper()
	for _, compression := range Compressions {
		var out [2]bytes.Buffer
		one := make(Workers, 1)
		one <- &worker{}
		for i, k := range []Workers{one, NewWorkers()} {
			if err := k.segment(&out[i], list, compression, 0); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(out[0].Bytes(), out[1].Bytes()) || out[0].Len()%4 != 0 {
			t.Errorf("%s: one worker writes %d bytes, many %d", compression, out[0].Len(), out[1].Len())
		}
		var alone bytes.Buffer
		for _, part := range list {
			if err := (&worker{}).archive(&alone, part, compression, 0); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(out[0].Bytes(), alone.Bytes()) {
			t.Errorf("%s: not the archives one after another", compression)
		}
	}
	if err := NewWorkers().segment(full{}, list, "", 0); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

var errFull = errors.New("full")

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "512M": 512 << 20, "4G": 4 << 30, "2T": 2 << 40, "64K": 64 << 10} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%s is %d, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "G", "-1", "0", "1.5G", "4GB", "9999999T"} {
		if n, err := ParseSize(bad); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
	if _, err := Lookup("vhd,dynamic-vhd"); err == nil || !strings.Contains(err.Error(), "both written as BASE.vhd") {
		t.Errorf("two formats of one name: %v", err)
	}
}

func TestDiskSize(t *testing.T) {
	in := input(t)
	in.Code = component(t, "bootblobs", in.Arch)
	for want, size := range map[int64]int64{5 << 20: 0, 100<<20 + 1<<20: 100<<20 + 1} {
		in.Size = size
		d, err := disk(in, both, partAlign)
		if err != nil || d.image.Size() != want {
			t.Errorf("size %d: %v", size, err)
		}
	}
	in.Size = 1 << 20
	if _, err := disk(in, both, partAlign); err == nil || !strings.Contains(err.Error(), "this one needs 5242880") {
		t.Errorf("too small a disk: %v", err)
	}
}

func TestLookup(t *testing.T) {
	list, err := Lookup("tar, kernel+initrd,tar")
	if err != nil || len(list) != 2 || list[0].Name != "tar" || list[1].Name != "kernel+initrd" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := Lookup(""); err != nil || list[0].Name != Default {
		t.Errorf("the default is %v, %v", list, err)
	}
	if _, err := Lookup("tar,nope"); err == nil || !strings.Contains(err.Error(), `unknown format "nope"; there are: kernel+initrd, `) {
		t.Errorf("%v", err)
	}
	f := Format{Name: "x", Arches: []string{"arm64"}, Needs: Needs{Kernel: true}}
	for _, c := range []struct {
		arch   string
		kernel bool
		want   string
	}{{"arm64", true, ""}, {"amd64", true, "only for arm64"}, {"arm64", false, "needs a kernel"}} {
		err := f.Check(c.arch, c.kernel)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
