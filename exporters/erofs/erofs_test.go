package erofs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/tree"
	"github.com/lkx-os/lkx/tree/treetest"
)

const epoch = 1_000_000_000

// written writes t into a file.
func written(t testing.TB, tr tree.Tree, epoch int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, tr, Options{Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestByJudge has erofs-utils check and extract the sample, and compares.
func TestByJudge(t *testing.T) {
	want := treetest.Sample(t)
	name := written(t, want, epoch)
	out := filepath.Join(t.TempDir(), "out")
	judge.Run(t, "fsck.erofs", "--extract="+out, name)
	treetest.Compare(t, want, out)
	if got := judge.Run(t, "dump.erofs", "-s", name); !strings.Contains(got, "Filesystem inode count:                       10") {
		t.Errorf("dump.erofs: %s", got)
	}
	if got := judge.Run(t, "dump.erofs", "--path=/first", name); !strings.Contains(got, "Links: 3") || !strings.Contains(got, "2001-09-09 01:46:40") {
		t.Errorf("dump.erofs: %s", got)
	}
	uuid := judge.Run(t, "dump.erofs", "-s", name)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if id, err := UUID(f); err != nil || !strings.Contains(uuid, id) || id[14] != '8' {
		t.Errorf("UUID %s, %v; dump.erofs: %s", id, err, uuid)
	}
}

func TestReproducible(t *testing.T) {
	read := func(epoch int64) []byte {
		b, err := os.ReadFile(written(t, treetest.Sample(t), epoch))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := read(epoch)
	if !bytes.Equal(first, read(epoch)) {
		t.Error("a second image differs")
	}
	if later := read(epoch + 1); bytes.Equal(first[uuidAt:uuidAt+16], later[uuidAt:uuidAt+16]) {
		t.Error("another image has the same UUID")
	}
	if len(first)%blockSize != 0 {
		t.Errorf("the image has %d bytes", len(first))
	}
}

func TestRefuses(t *testing.T) {
	for what, e := range map[string]tree.Entry{
		"a long target":       {Mode: tree.TypeSymlink | 0o777, Link: strings.Repeat("x", 4096)},
		"an empty target":     {Mode: tree.TypeSymlink | 0o777},
		"a large device":      {Mode: tree.TypeChar, Rdev: tree.Makedev(1<<12, 0)},
		"a strange attribute": {Mode: tree.TypeFIFO, Xattrs: map[string]string{"system.other": ""}},
		"a large attribute":   {Mode: tree.TypeFIFO, Xattrs: map[string]string{"user.a": strings.Repeat("x", 1<<16)}},
		"a short file":        {Mode: tree.TypeRegular, Size: 10},
		"a long file":         {Mode: tree.TypeRegular, Size: 3},
	} {
		var b tree.Builder
		e.Path = "dir/it"
		if err := b.Put(e, tree.Bytes("12345")); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := Write(f, b.Tree(), Options{}); err == nil || !strings.Contains(err.Error(), "dir/it") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := UUID(strings.NewReader(strings.Repeat("x", 8192))); err == nil {
		t.Error("anything has a UUID")
	}
}

func BenchmarkWrite(b *testing.B) {
	tr, err := tree.Dir("/usr/share")
	if err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		written(b, tr, 0)
	}
}
