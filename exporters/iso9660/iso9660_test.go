package iso9660

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

const epoch = 1_700_000_000 // 2023-11-14 22:13:20

func build(t testing.TB, entries ...tree.Entry) tree.Tree {
	t.Helper()
	var b tree.Builder
	for _, e := range entries {
		if target, ok := strings.CutPrefix(e.Link, "hard:"); ok {
			if err := b.Link(e.Path, target); err != nil {
				t.Fatal(err)
			}
			continue
		}
		contents := strings.Repeat(e.Path+"\n", int(e.Size)/len(e.Path)+1)[:e.Size]
		if err := b.Put(e, tree.Bytes(contents)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

// everything has each kind of entry, and what needs continuation areas, many
// blocks of records, or names made unique.
func everything(t testing.TB) tree.Tree {
	const file, dir, link = tree.TypeRegular | 0o644, tree.TypeDir | 0o755, tree.TypeSymlink | 0o777
	entries := []tree.Entry{
		{Path: "bin", Mode: dir},
		{Path: "bin/su", Mode: tree.TypeRegular | 0o4755, Size: 5000},
		{Path: "bin/sudo", Link: "hard:bin/su"},
		{Path: "bin/sticky", Mode: tree.TypeDir | 0o1777, UID: 70000, GID: 4000000000},
		{Path: "another-name-of-su", Link: "hard:bin/su"},
		{Path: "empty", Mode: tree.TypeRegular | 0o600, UID: 5},
		{Path: "block", Mode: file, Size: 2048},
		{Path: "more", Mode: file, Size: 2049},
		{Path: strings.Repeat("long ", 50) + "253", Mode: file, Size: 3},
		{Path: strings.Repeat("long ", 50) + "dir", Mode: dir},
		{Path: "Straße.tar.gz", Mode: file, Size: 10},
		{Path: "readme.txt", Mode: file, Size: 1},
		{Path: "README.TXT", Mode: file, Size: 2},
		{Path: "Readme.txt", Mode: dir},
		{Path: "readme_txt", Mode: dir},
		{Path: strings.Repeat("deep/", 29) + "deep", Mode: file, Size: 100},
		{Path: "links", Mode: dir},
		{Path: "links/root", Mode: link, Link: "/"},
		{Path: "links/absolute", Mode: link, Link: "/bin/su"},
		{Path: "links/up", Mode: link, Link: "../bin/./../bin/su"},
		{Path: "links/long", Mode: link, Link: strings.Repeat("/"+strings.Repeat("x", 255), 3)},
		{Path: "dev", Mode: dir},
		{Path: "dev/fifo", Mode: tree.TypeFIFO | 0o600},
		{Path: "many", Mode: dir},
	}
	if os.Getuid() == 0 { // nobody else can unpack them
		entries = append(entries,
			tree.Entry{Path: "dev/null", Mode: tree.TypeChar | 0o666, Rdev: tree.Makedev(1, 3)},
			tree.Entry{Path: "dev/disk", Mode: tree.TypeBlock | 0o660, Rdev: tree.Makedev(259, 200), GID: 6},
		)
	}
	for i := range 300 {
		entries = append(entries, tree.Entry{Path: fmt.Sprintf("many/a-name-that-is-cut-and-made-unique-%d.ext", i), Mode: file, Size: int64(i)})
		entries = append(entries, tree.Entry{Path: fmt.Sprintf("dirs/%d", i), Mode: dir})
	}
	for n := 90; n < 140; n++ { // around where a name needs a continuation area
		entries = append(entries, tree.Entry{Path: "lengths/" + strings.Repeat("n", n), Mode: file, Size: 1})
	}
	return build(t, entries...)
}

func layOut(t testing.TB, tr tree.Tree, o Options) *Volume {
	t.Helper()
	o.Epoch = epoch
	v, err := New(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// save writes the volume into a new file and tells its name.
func save(t testing.TB, v *Volume) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "volume.iso"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := v.Image.Save(f); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func judge(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("LKX_TEST_E2E") != "" {
			t.Fatal(err)
		}
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// list is a tree as lines, with contents, inodes by their first name, and
// owners and set-id bits if root unpacked it.
func list(t *testing.T, tr tree.Tree, root bool) []string {
	t.Helper()
	var out []string
	first := map[int]string{}
	for e, err := range tr.All() {
		if err != nil {
			t.Fatal(err)
		}
		if !root {
			e.Mode &^= 0o6000
		}
		line := fmt.Sprintf("%06o %q -> %q", e.Mode, e.Path, e.Link)
		if root {
			line += fmt.Sprintf(" %d:%d %d:%d", e.UID, e.GID, tree.Major(e.Rdev), tree.Minor(e.Rdev))
		}
		if e.Hard != 0 {
			if first[e.Hard] == "" {
				first[e.Hard] = e.Path
			}
			line += fmt.Sprintf(" as %q", first[e.Hard])
		}
		if e.Type() == tree.TypeRegular {
			r, err := tr.Open(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			line += fmt.Sprintf(" %q", text)
		}
		out = append(out, line)
	}
	return out
}

// TestUnpacked compares the tree with what others unpack from the volume.
func TestUnpacked(t *testing.T) {
	want := everything(t)
	image := save(t, layOut(t, want, Options{Label: "EVERYTHING"}))
	root := os.Getuid() == 0
	for _, c := range []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"xorriso", func(t *testing.T, dir string) {
			out := judge(t, "xorriso", "-abort_on", "WARNING", "-hardlinks", "on", "-osirrox", "device_files:auto_chmod_on", "-indev", image, "-extract", "/", dir)
			if strings.Contains(out, "WARNING") || strings.Contains(out, "FAILURE") {
				t.Error(out)
			}
		}},
		{"bsdtar", func(t *testing.T, dir string) {
			judge(t, "bsdtar", "-C", dir, "-xpf", image)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tree")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			c.run(t, dir)
			got, err := tree.Dir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(list(t, want, root), list(t, got, root)); d != "" {
				t.Errorf("the unpacked tree differs:\n%s", d)
			}
			st, err := os.Stat(filepath.Join(dir, "block"))
			if err != nil || st.ModTime().Unix() != epoch {
				t.Errorf("a file's time is %v (%v)", st.ModTime(), err)
			}
		})
	}
}

// TestSymlinks has targets of all lengths up to what libisofs reads, so that SL
// entries end anywhere.
func TestSymlinks(t *testing.T) {
	targets := []string{".", "..", "/", "./a", "/..", "../../", "a/", strings.Repeat("/x", 500)}
	for n := 1; n < 1000; n += 3 {
		targets = append(targets, strings.Repeat("../a/./bcdef/", 80)[:n])
	}
	var entries []tree.Entry
	for i, target := range targets {
		entries = append(entries, tree.Entry{Path: fmt.Sprint("l", i), Mode: tree.TypeSymlink | 0o777, Link: target})
	}
	image, dir := save(t, layOut(t, build(t, entries...), Options{})), t.TempDir()
	judge(t, "xorriso", "-abort_on", "WARNING", "-osirrox", "on", "-indev", image, "-extract", "/", dir)
	for i, want := range targets {
		if got, err := os.Readlink(filepath.Join(dir, fmt.Sprint("l", i))); got != want {
			t.Errorf("the target is %q (%v), want %q", got, err, want)
		}
	}
}

func TestDescriptors(t *testing.T) {
	image := save(t, layOut(t, everything(t), Options{Label: "EVERYTHING", Tail: 33 * 512, Align: 1 << 20}))
	st, err := os.Stat(image)
	if err != nil || st.Size()%(1<<20) != 0 {
		t.Errorf("the volume has %d bytes (%v)", st.Size(), err)
	}
	if out := judge(t, "file", image); !strings.Contains(out, "ISO 9660 CD-ROM filesystem data 'EVERYTHING'") {
		t.Error(out)
	}
	out := judge(t, "xorriso", "-indev", image, "-pvd_info", "-toc")
	for _, want := range []string{
		"Volume Id    : EVERYTHING\n", "System Id    : LINUX\n", "Creation Time: 2023111422132000\n",
		fmt.Sprintf("%d data blocks", st.Size()/block),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, out)
		}
	}
}

// TestBoot makes a volume as a hybrid image has it, and asks xorriso what
// firmware will find.
func TestBoot(t *testing.T) {
	loader := bytes.Repeat([]byte("boot"), 10001)
	esp := &sparse.File{}
	esp.Put(20<<20, []byte("kernel"))
	esp.Resize(33 << 20)
	var b tree.Builder
	for path, size := range map[string]int{"boot/eltorito.img": len(loader), "esp.img": 33 << 20, "small.img": 5000} {
		if err := b.Put(tree.Entry{Path: path, Mode: tree.TypeRegular | 0o444, Size: int64(size)}, tree.Bytes(string(loader[:size%len(loader)]))); err != nil {
			t.Fatal(err)
		}
	}
	contents := &sparse.File{}
	contents.Put(0, loader)
	v := layOut(t, b.Tree(), Options{
		Boot: []Boot{
			{Platform: BIOS, Path: "boot/eltorito.img", LoadSectors: 4, Table: true},
			{Platform: EFI, Path: "small.img"},
			{Platform: EFI, Path: "esp.img"},
		},
		Contents: map[string]*sparse.File{"esp.img": esp, "boot/eltorito.img": contents},
	})
	if got := v.Image.Runs(block); len(got) < 2 || got[0].Off != 32<<10 {
		t.Errorf("the runs are %v: the system area must be a hole", got)
	}
	image := save(t, v)
	if got := judge(t, "dd", "status=none", "if="+image, "bs=1", "count=6", fmt.Sprintf("skip=%d", v.Offsets["esp.img"]+20<<20)); got != "kernel" {
		t.Errorf("the ESP holds %q", got)
	}
	out := judge(t, "xorriso", "-abort_on", "WARNING", "-indev", image, "-report_el_torito", "plain")
	lba := func(name string) int64 { return v.Offsets[name] / block }
	for _, want := range []string{
		`El Torito catalog  : \d+ +1`,
		fmt.Sprintf(`El Torito boot img : +1 +BIOS +y +none +0x0000 +0x00 +4 +%d\n`, lba("boot/eltorito.img")),
		fmt.Sprintf(`El Torito boot img : +2 +UEFI +y +none +0x0000 +0x00 +10 +%d\n`, lba("small.img")),
		fmt.Sprintf(`El Torito boot img : +3 +UEFI +y +none +0x0000 +0x00 +0 +%d\n`, lba("esp.img")),
		`El Torito img path : +1 +/boot/eltorito.img`,
		`El Torito img opts : +1 +boot-info-table`, // which it tells from the checksum
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("xorriso does not say %s:\n%s", want, out)
		}
	}
}

// TestLargeFile has a file of three extents.
func TestLargeFile(t *testing.T) {
	const size = 9 << 30
	big := &sparse.File{}
	big.Put(maxSection-3, []byte("over the seam"))
	big.Put(size-3, []byte("end"))
	tr := build(t, tree.Entry{Path: "after", Mode: tree.TypeRegular | 0o644, Size: 6})
	var b tree.Builder
	if err := b.Put(tree.Entry{Path: "big", Mode: tree.TypeRegular | 0o644, Size: size}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(tree.Entry{Path: "small", Mode: tree.TypeRegular | 0o644, Size: 6}, func() (io.ReadCloser, error) { return tr.Open("after") }); err != nil {
		t.Fatal(err)
	}
	v := layOut(t, b.Tree(), Options{Contents: map[string]*sparse.File{"big": big}})
	image := save(t, v)
	out := judge(t, "xorriso", "-abort_on", "WARNING", "-indev", image, "-find", "/", "-exec", "report_lba")
	lba := v.Offsets["big"] / block
	for i, blocks := range []int64{maxSection / block, maxSection / block, (size - 2*maxSection) / block} {
		want := fmt.Sprintf(`File data lba: +%d , +%d , +%d , +%d , '/big'`, i, lba, blocks, int64(size))
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("xorriso does not say %s:\n%s", want, out)
		}
		lba += blocks
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off, want := range map[int64]string{
		v.Offsets["big"] + maxSection - 3: "over the seam",
		v.Offsets["big"] + size - 3:       "end",
		v.Offsets["small"]:                "after\n",
	} {
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, off); err != nil || string(got) != want {
			t.Errorf("%q (%v) is where %q should be", got, err, want)
		}
	}
}

// TestSame writes a volume twice, and with other contents of the same sizes.
func TestSame(t *testing.T) {
	bytesOf := func(v *Volume) []byte {
		r, err := v.Image.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	a, b := layOut(t, everything(t), Options{}), layOut(t, everything(t), Options{})
	data := bytesOf(a)
	if !bytes.Equal(data, bytesOf(b)) {
		t.Error("two volumes of one tree differ")
	}
	other := &sparse.File{}
	other.Put(0, bytes.Repeat([]byte("!"), 2048))
	c := layOut(t, everything(t), Options{Contents: map[string]*sparse.File{"block": other}})
	at := a.Offsets["block"]
	copy(data[at:at+2048], bytesOf(c)[c.Offsets["block"]:])
	if !bytes.Equal(data, bytesOf(c)) {
		t.Error("other contents of the same size make another layout")
	}
	if a.Offsets["bin/su"] == 0 || a.Offsets["bin/su"] != a.Offsets["another-name-of-su"] {
		t.Errorf("two names of a file are at %d and %d", a.Offsets["bin/su"], a.Offsets["another-name-of-su"])
	}
}

// BenchmarkNew lays out 8,000 files in 400 directories, and writes them.
func BenchmarkNew(b *testing.B) {
	contents := tree.Bytes(strings.Repeat("x", 17<<10))
	var t tree.Builder
	for i := range 8000 {
		if err := t.Put(tree.Entry{Path: fmt.Sprintf("usr/lib/%d/file-%d.so", i%400, i), Mode: tree.TypeRegular | 0o644, Size: 17 << 10}, contents); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(8000 * 17 << 10)
	for b.Loop() {
		r, err := layOut(b, t.Tree(), Options{}).Image.Open()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
