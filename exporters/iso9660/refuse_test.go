package iso9660

import (
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// bare is a tree of entries that a builder would not make, or not so many.
type bare []tree.Entry

func (b bare) All() iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for _, e := range b {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (b bare) Open(string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("short")), nil
}

func TestRefuses(t *testing.T) {
	const file = tree.TypeRegular | 0o644
	ten := &sparse.File{}
	ten.Resize(10)
	var dirs bare
	for i := range maxDirs {
		dirs = append(dirs, tree.Entry{Path: "d" + strings.Repeat("0", i%200) + string(rune('a'+i/200)), Mode: tree.TypeDir})
	}
	for want, c := range map[string]struct {
		t bare
		o Options
	}{
		"placing a: an ISO 9660 volume cannot hold extended attributes": {t: bare{{Path: "a", Mode: file, Xattrs: map[string]string{"user.a": "b"}}}},
		"longer than the 253 bytes":                                     {t: bare{{Path: strings.Repeat("a", 254), Mode: file}}},
		"a/b: its directory is not":                                     {t: bare{{Path: "a/b", Mode: file}}},
		"NUL in the name":                                               {t: bare{{Path: "a\x00b", Mode: file}}},
		"more than the 100 extents":                                     {t: bare{{Path: "a", Mode: file, Size: 1 << 39}}},
		"a: a symbolic link needs":                                      {t: bare{{Path: "a", Mode: tree.TypeSymlink, Link: strings.Repeat("a", 4096)}}},
		"device 0:300":                                                  {t: bare{{Path: "a", Mode: tree.TypeChar, Rdev: tree.Makedev(0, 300)}}},
		"of no known type":                                              {t: bare{{Path: "a", Mode: 0o644}}},
		"65536 directories":                                             {t: dirs},
		"larger than 8 TiB":                                             {o: Options{Tail: 8 << 40}},
		"is longer than 32":                                             {o: Options{Label: strings.Repeat("A", 33)}},
		"is not ASCII":                                                  {o: Options{Label: "STRAßE"}},
		"time -1 does not fit":                                          {o: Options{Epoch: -1}},
		"time 6000000000 does not fit":                                  {o: Options{Epoch: 6_000_000_000}},
		"aligned to 512":                                                {o: Options{Align: 512}},
		"33 boot images":                                                {o: Options{Boot: make([]Boot, 33)}},
		"boot image a: there is no such":                                {t: bare{{Path: "a", Mode: file}}, o: Options{Boot: []Boot{{Path: "a"}}}},
		"boot image b: 33554432 bytes":                                  {t: bare{{Path: "b", Mode: file, Size: 32 << 20}}, o: Options{Boot: []Boot{{Path: "b"}}}},
		"a file of 63 bytes cannot have":                                {t: bare{{Path: "c", Mode: file, Size: 63}}, o: Options{Boot: []Boot{{Path: "c", Table: true}}}},
		"boot image d: reading it":                                      {t: bare{{Path: "d", Mode: file, Size: 100}}, o: Options{Boot: []Boot{{Path: "d", Table: true}}}},
		"a: 10 bytes of contents, expected":                             {t: bare{{Path: "a", Mode: file, Size: 9}}, o: Options{Contents: map[string]*sparse.File{"a": ten}}},
		"no file to put them in":                                        {o: Options{Contents: map[string]*sparse.File{"a": ten}}},
	} {
		if _, err := New(c.t, c.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	v, err := New(bare{{Path: "a", Mode: file, Size: 100}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := v.Image.Open()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is too short: %v", err)
	}
}

func TestIdentifiers(t *testing.T) {
	parent := &node{}
	var got []string
	for _, c := range []struct {
		name string
		mode uint32
	}{
		{".profile", tree.TypeRegular},
		{"Vmlinuz-6.1", tree.TypeRegular},
		{"a", tree.TypeRegular},
		{"a", tree.TypeDir},
		{"a000", tree.TypeRegular},
		{"a.", tree.TypeRegular},
		{"dir.d", tree.TypeDir},
		{"libc.so.6", tree.TypeRegular},
		{"x.extension", tree.TypeRegular},
		{"x.extensions", tree.TypeRegular},
		{strings.Repeat("n", 40) + ".ko", tree.TypeRegular},
		{strings.Repeat("n", 41) + ".ko", tree.TypeRegular},
		{strings.Repeat("n", 42), tree.TypeDir},
	} {
		parent.children = append(parent.children, &node{path: c.name, inode: &inode{entry: tree.Entry{Mode: c.mode}}})
	}
	identify(parent.children)
	for _, n := range parent.children {
		got = append(got, n.id)
	}
	want := []string{
		"_PROFILE.", "VMLINUZ_6.1", "A.", "A000", "A000000.", "A001.", "DIR_D", "LIBC_SO.6", "X.EXTENSIO", "X000.EXTENSIO",
		strings.Repeat("N", 28) + ".KO", strings.Repeat("N", 25) + "000.KO", strings.Repeat("N", 31),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the identifiers differ:\n%s", d)
	}
}
