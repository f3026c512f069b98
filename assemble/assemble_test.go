package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/exporters/cpio"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/tree"
)

// layer makes a layer of entries: "dir/", "file=contents", "link->target",
// "hard=>target", with an optional mode before a blank: "0700 dir/".
func layer(t *testing.T, entries ...string) Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Mode: 0o644, Uid: 7}
		if mode, rest, ok := strings.Cut(e, " "); ok {
			if _, err := fmt.Sscanf(mode, "%o", &h.Mode); err != nil {
				t.Fatal(err)
			}
			e = rest
		}
		var contents string
		switch {
		case strings.HasSuffix(e, "/"):
			h.Name, h.Typeflag = e, tar.TypeDir
		case strings.Contains(e, "=>"):
			h.Typeflag = tar.TypeLink
			h.Name, h.Linkname, _ = strings.Cut(e, "=>")
		case strings.Contains(e, "->"):
			h.Typeflag = tar.TypeSymlink
			h.Name, h.Linkname, _ = strings.Cut(e, "->")
		default:
			h.Typeflag = tar.TypeReg
			h.Name, contents, _ = strings.Cut(e, "=")
			h.Size = int64(len(contents))
		}
		if strings.HasSuffix(h.Name, ".xattr") {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "cap", "SCHILY.xattr.security.selinux": "label"}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return section{bytes.NewReader(buf.Bytes()), int64(buf.Len())}
}

// show lists a tree, a line an entry.
func show(t *testing.T, tr tree.Tree) []string {
	t.Helper()
	var out []string
	for e, err := range tr.All() {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%o %d %s", e.Perm(), e.UID, e.Path)
		switch e.Type() {
		case tree.TypeDir:
			line += "/"
		case tree.TypeSymlink:
			line += "->" + e.Link
		case tree.TypeRegular:
			f, err := tr.Open(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(f)
			if err != nil || int64(len(text)) != e.Size {
				t.Fatalf("%s has %d bytes, should have %d: %v", e.Path, len(text), e.Size, err)
			}
			f.Close()
			line += "=" + string(text)
		}
		if e.Hard != 0 {
			line += fmt.Sprintf(" #%d", e.Hard)
		}
		for k, v := range e.Xattrs {
			line += " " + k + ":" + v
		}
		out = append(out, line)
	}
	return out
}

// images are the cases of layers that are easily got wrong.
var images = []struct {
	name   string
	layers [][]string
	want   []string
}{
	{"order", [][]string{{"b=1", "a-b=2", "a/", "a/x=3"}}, []string{"644 7 a/", "644 7 a/x=3", "644 7 a-b=2", "644 7 b=1"}},
	{
		"whiteout",
		[][]string{{"0755 d/", "d/a=1", "d/b=2", "c=3"}, {"d/.wh.a=", ".wh.c="}},
		[]string{"755 7 d/", "644 7 d/b=2"},
	},
	{
		"whiteout of a directory",
		[][]string{{"0755 d/", "0755 d/e/", "d/e/a=1"}, {".wh.d="}, {"x=1"}},
		[]string{"644 7 x=1"},
	},
	{
		"opaque whiteout before and after what its layer brings",
		[][]string{{"0755 d/", "d/a=1", "0755 d/sub/", "d/sub/b=1"}, {"0711 d/", "d/new=1", "d/.wh..wh..opq=", "d/newer=2"}},
		[]string{"711 7 d/", "644 7 d/new=1", "644 7 d/newer=2"},
	},
	{
		"what a layer brings stays, whatever its whiteouts say",
		[][]string{{"a=old"}, {"a=new", ".wh.a="}},
		[]string{"644 7 a=new"},
	},
	{
		"directory modes are kept, and changed by later layers only",
		[][]string{{"0700 etc/", "etc/a=1"}, {"etc/b=2"}, {"0750 etc/"}},
		[]string{"750 7 etc/", "644 7 etc/a=1", "644 7 etc/b=2"},
	},
	{
		"directories without an entry",
		[][]string{{"a/b/c=1"}},
		[]string{"755 0 a/", "755 0 a/b/", "644 7 a/b/c=1"},
	},
	{
		"a file replaces a directory, and a directory a file",
		[][]string{{"0755 d/", "d/x=1", "f=1"}, {"d=file", "0700 f/", "f/y=1"}},
		[]string{"644 7 d=file", "700 7 f/", "644 7 f/y=1"},
	},
	{
		"hard links",
		[][]string{{"a=1", "c=>a", "0755 d/", "d/b=>c"}},
		[]string{"644 7 a=1 #1", "644 7 c=1 #1", "755 7 d/", "644 7 d/b=1 #1"},
	},
	{
		"a hard link to a file of a lower layer copies it up",
		[][]string{{"a=1", "b=>a"}, {"c=>a"}},
		[]string{"644 7 a=1 #1", "644 7 b=1", "644 7 c=1 #1"},
	},
	{
		"a hard link's entry has the last word on its file",
		[][]string{{"0600 f.xattr=1", "0640 l=>f.xattr"}},
		[]string{"640 7 f.xattr=1 #1", "640 7 l=1 #1"},
	},
	{
		"a hard link whose other name goes away is a file",
		[][]string{{"a=1", "b=>a"}, {".wh.a="}},
		[]string{"644 7 b=1"},
	},
	{
		"a replaced file leaves its links",
		[][]string{{"a=1", "b=>a"}, {"a=2"}},
		[]string{"644 7 a=2", "644 7 b=1"},
	},
	{
		"parents that are links are followed, inside the image",
		[][]string{{"0755 usr/", "0755 usr/lib/", "lib->usr/lib", "abs->/usr", "out->../../usr"}, {"lib/a=1", "abs/b=2", "out/c=3"}},
		[]string{"777 0 abs->/usr", "777 0 lib->usr/lib", "777 0 out->../../usr", "755 7 usr/", "644 7 usr/b=2", "644 7 usr/c=3", "755 7 usr/lib/", "644 7 usr/lib/a=1"},
	},
	{"leading dots and slashes", [][]string{{"./", "./a=1", "/b=2"}}, []string{"644 7 a=1", "644 7 b=2"}},
	{"only portable attributes", [][]string{{"f.xattr=1"}}, []string{"644 7 f.xattr=1 security.capability:cap"}},
	{"set-id bits", [][]string{{"4755 su=1"}}, []string{"4755 7 su=1"}},
}

func image(t *testing.T, entries [][]string) tree.Tree {
	t.Helper()
	var layers []Layer
	for _, l := range entries {
		layers = append(layers, layer(t, l...))
	}
	tr, err := Image(layers)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestImage(t *testing.T) {
	for _, c := range images {
		t.Run(c.name, func(t *testing.T) {
			tr := image(t, c.layers)
			want := c.want
			for i, w := range want { // links have no owner of their own in these layers
				want[i] = strings.Replace(w, "777 0 ", "777 7 ", 1)
			}
			if d := cmp.Diff(want, show(t, tr)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestDirAgrees writes each image to a directory, as BuildKit would mount it,
// and reads it back: both are the same archive.
func TestDirAgrees(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make files of other owners")
	}
	for _, c := range images {
		t.Run(c.name, func(t *testing.T) {
			tr := image(t, c.layers)
			out, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			if strings.Contains(c.name, "attributes") {
				t.Skip("the attribute is not one that a kernel accepts")
			}
			if err := tree.Extract(tr, out, 1); err != nil {
				t.Fatal(err)
			}
			back, err := tree.Dir(out.Name())
			if err != nil {
				t.Fatal(err)
			}
			var a, b bytes.Buffer
			if err := cpio.Write(&a, tr, 1); err != nil {
				t.Fatal(err)
			}
			if err := cpio.Write(&b, back, 1); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Error(cmp.Diff(show(t, tr), show(t, back)))
			}
		})
	}
}

func TestBadLayers(t *testing.T) {
	good := layer(t, "a=12345")
	truncated := section{good, 514}
	loop := layer(t, "a->b", "b->a", "a/x=1")
	for name, c := range map[string]struct {
		layer Layer
		want  string
	}{
		"truncated":         {truncated, "not a whole tar archive"},
		"leaves the root":   {layer(t, "a/../../b=1"), "leaves the root"},
		"link to nothing":   {layer(t, "a=>b"), "linking a to b"},
		"link to directory": {layer(t, "d/", "a=>d"), "the target is a directory"},
		"link loop":         {loop, "too many symbolic links"},
		"below a file":      {layer(t, "a=1", "a/b=2"), "a is not a directory"},
	} {
		_, err := Image([]Layer{good, c.layer})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "layer 2 of 2") {
			t.Errorf("%s: the error is %v, want %q", name, err, c.want)
		}
	}
}

func TestOwners(t *testing.T) {
	ids := func(host uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: host, Size: 10}}
	}
	var b tree.Builder
	for name, id := range map[string]uint32{"root": 0, "user": 9, "nobody": 10} {
		if err := b.Put(tree.Entry{Path: name, Mode: tree.TypeRegular | 0o4755, UID: id, GID: id}, tree.Bytes("")); err != nil {
			t.Fatal(err)
		}
	}
	s := &plan.Step{Copies: []plan.Copy{{Image: plan.Image{Ref: "x"}, Dest: "d", UIDs: ids(100), GIDs: ids(200)}}}
	got, err := Step(t.Context(), s, Sources{Images: oneImage{b.Tree()}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][3]uint32{"d/root": {100, 200, 0o4755}, "d/user": {109, 209, 0o4755}, "d/nobody": {10, 10, 0o4755}}
	for e, err := range got.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type() == tree.TypeRegular && want[e.Path] != [3]uint32{e.UID, e.GID, e.Perm()} {
			t.Errorf("%s belongs to %d:%d, mode %o", e.Path, e.UID, e.GID, e.Perm())
		}
		delete(want, e.Path)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// oneImage is a tree under any name.
type oneImage struct{ tree tree.Tree }

func (i oneImage) Tree(context.Context, plan.Image) (tree.Tree, error) { return i.tree, nil }
