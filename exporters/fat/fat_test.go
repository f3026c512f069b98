package fat

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/internal/sparse"
)

// saved is a volume as a file.
func saved(t testing.TB, v *Volume) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := v.Image.Save(f); err != nil {
		t.Fatal(err)
	}
	return name
}

// filled is a file of size bytes, the first ones and the last ones not zero.
func filled(size int64, seed string) *sparse.File {
	f := &sparse.File{}
	head := min(size, 1<<20)
	f.Put(0, bytes.Repeat([]byte(seed), int(head)/len(seed)+1)[:head])
	if size > 2<<20 {
		f.Put(size-3, []byte("end"))
	}
	return f
}

func many(n int) []File {
	var out []File
	for i := range n {
		out = append(out, File{fmt.Sprintf("dir/file number %d.text", i), filled(int64(i), "x")})
	}
	return out
}

var names = []File{
	{"EFI/BOOT/BOOTX64.EFI", filled(3<<20, "efi")},
	{"lkx/grub.cfg", filled(100, "cfg")},
	{"lkx/grub.config", filled(100, "config")},
	{"empty", filled(0, "x")},
	{"a/b/c/d/e/f/Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich ☃.txt", filled(5000, "z")},
	{"a/exactly13char", filled(1, "a")},
	{"a/.hidden", filled(513, "h")},
	{"a/UPPER.TXT", filled(512, "u")},
	{"a/two.dots.txt", filled(2, "d")},
}

func TestVolumes(t *testing.T) {
	for name, x := range map[string]struct {
		files []File
		o     Options
		bits  int
		most  int64 // bytes of the volume
	}{
		"nothing":    {nil, Options{}, 16, 3 << 20},
		"10 bytes":   {[]File{{"a", filled(10, "a")}}, Options{Label: "LKX", ID: 0x12345678, Hidden: 2048, Epoch: 1700000000}, 16, 3 << 20},
		"names":      {names, Options{}, 16, 6 << 20},
		"aligned":    {names, Options{Align: 1 << 20}, 16, 6 << 20},
		"500 files":  {many(500), Options{}, 16, 3 << 20},
		"1000 files": {many(1000), Options{Size: 40 << 20}, 32, 40 << 20},
		"31 MB":      {[]File{{"a", filled(31<<20, "a")}}, Options{}, 16, 32 << 20},
		"40 MB":      {[]File{{"a", filled(40<<20, "a")}, {"b", filled(1, "b")}}, Options{}, 32, 41 << 20},
		"300 MB":     {[]File{{"a", filled(300<<20, "a")}}, Options{Align: 1 << 20}, 32, 302 << 20},
		"3 GB":       {[]File{{"a", filled(3<<30, "a")}, {"b/c", filled(100, "c")}}, Options{}, 32, 3<<30 + 8<<20},
		"in 16 GB":   {names, Options{Size: 16 << 30}, 32, 16 << 30},
		"in 32 MB":   {names, Options{Size: 32 << 20}, 16, 32 << 20},
		"in 33.4 MB": {names, Options{Size: 33400 << 10}, 32, 33400 << 10},
		"in 2.5 MB":  {names[1:], Options{Size: 2500 << 10}, 16, 2500 << 10},
		// fsck.fat counts the bytes of a chain in 32 bits.
		"the largest": {[]File{{"a", filled(1<<32-64<<10, "a")}}, Options{}, 32, 4<<30 + 20<<20},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := New(x.files, x.o)
			if err != nil {
				t.Fatal(err)
			}
			if v.Bits != x.bits || v.Image.Size() > x.most || x.o.Size != 0 && v.Image.Size() != x.o.Size || x.o.Align != 0 && v.Image.Size()%x.o.Align != 0 {
				t.Errorf("FAT%d of %d bytes", v.Bits, v.Image.Size())
			}
			img := saved(t, v)
			if out := judge.Run(t, "fsck.fat", "-n", "-v", img); strings.Contains(out, "ifferences") || strings.Contains(out, "rong") || strings.Contains(out, "nvalid") {
				t.Errorf("fsck.fat: %s", out)
			}
			check(t, img, v, x.files)
		})
	}
}

// check compares every file through mtools, and where it is said to be.
func check(t *testing.T, img string, v *Volume, files []File) {
	t.Helper()
	raw, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, f := range files {
		if size := f.Contents.Size(); len(files) > 100 && size%50 != 7 || size > 100<<20 {
			continue
		}
		r, err := f.Contents.Open()
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := judge.Run(t, "mtype", "-i", img, "::/"+f.Path); got != string(want) {
			t.Errorf("mtype %s: %d bytes, want %d", f.Path, len(got), len(want))
		}
		got := make([]byte, len(want))
		if _, err := raw.ReadAt(got, v.Range(f.Path).Off); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not at %d (%v)", f.Path, v.Range(f.Path).Off, err)
		}
		if v.Range(f.Path).Off%sector != 0 {
			t.Errorf("%s is at %d", f.Path, v.Range(f.Path).Off)
		}
	}
}

func TestAgain(t *testing.T) {
	var images [2][]byte
	for i := range images {
		v, err := New(names, Options{Epoch: 1700000001, Label: "A B"})
		if err != nil {
			t.Fatal(err)
		}
		if images[i], err = os.ReadFile(saved(t, v)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same input gives other bytes")
	}
}

func TestListing(t *testing.T) {
	v, err := New(names, Options{Label: "LKX OS", ID: 0xcafe1234, Epoch: 1700000000})
	if err != nil {
		t.Fatal(err)
	}
	out := judge.Run(t, "mdir", "-/", "-b", "-i", saved(t, v), "::")
	for _, f := range names {
		if !strings.Contains(out, "::/"+f.Path+"\n") {
			t.Errorf("mdir does not list %s:\n%s", f.Path, out)
		}
	}
	out = judge.Run(t, "mdir", "-i", saved(t, v), "::")
	for _, want := range []string{"LKX OS", "CAFE-1234", "2023-11-14"} {
		if !strings.Contains(out, want) {
			t.Errorf("mdir shows no %s:\n%s", want, out)
		}
	}
}

func TestRefusals(t *testing.T) {
	huge := &sparse.File{}
	huge.Resize(4 << 30)
	one := filled(1, "x")
	for want, x := range map[string]struct {
		files []File
		o     Options
	}{
		"4 GiB - 1":                         {[]File{{"big", huge}}, Options{}},
		"by case alone":                     {[]File{{"a/b", one}, {"A/c", one}}, Options{}},
		"two files, or a file and":          {[]File{{"a", one}, {"a/b", one}}, Options{}},
		"two files":                         {[]File{{"a/b", one}, {"a", one}}, Options{}},
		"is not a name":                     {[]File{{"/a", one}}, Options{}},
		"a character that FAT":              {[]File{{"a:b", one}}, Options{}},
		"ends with a dot":                   {[]File{{"a.", one}}, Options{}},
		"longer than 255":                   {[]File{{strings.Repeat("a", 256), one}}, Options{}},
		"not UTF-8":                         {[]File{{"a\xff", one}}, Options{}},
		"too small: its files need 2136064": {nil, Options{Size: 1 << 20}},
		"no multiple of 512":                {nil, Options{Size: 1<<20 + 1}},
		"cannot be a volume label":          {nil, Options{Label: "lower"}},
	} {
		if _, err := New(x.files, x.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q: %v", want, err)
		}
	}
}
