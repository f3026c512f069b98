package erofs

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/tree"
)

const epoch = 1_000_000_000

func put(t testing.TB, b *tree.Builder, e tree.Entry, contents string) {
	t.Helper()
	if e.Type() == tree.TypeRegular {
		e.Size = int64(len(contents))
	}
	if err := b.Put(e, tree.Bytes(contents)); err != nil {
		t.Fatal(err)
	}
}

// random is size bytes that depend on nothing but size.
func random(size int) string {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	r.Read(b)
	return string(b)
}

// sample is a tree with everything that can be got wrong.
func sample(t testing.TB) tree.Tree {
	t.Helper()
	var b tree.Builder
	const file = tree.TypeRegular | 0o640
	for i, size := range []int{0, 1, 31, 32, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 70000, 1 << 20, 1<<20 + 5} {
		put(t, &b, tree.Entry{Path: fmt.Sprintf("sizes/%d", size), Mode: file, UID: uint32(i)}, random(size))
	}
	put(t, &b, tree.Entry{Path: "zeros", Mode: file}, strings.Repeat("\x00", 300_000))
	put(t, &b, tree.Entry{Path: "su", Mode: tree.TypeRegular | 0o4755, UID: 70000, GID: 80000}, "set-id")
	put(t, &b, tree.Entry{Path: "tmp", Mode: tree.TypeDir | 0o1777, GID: 5}, "")
	for i := range 10_000 {
		put(t, &b, tree.Entry{Path: fmt.Sprintf("many/file-%d-%s", i, strings.Repeat("x", i%40)), Mode: file}, fmt.Sprint(i))
	}
	put(t, &b, tree.Entry{Path: strings.Repeat("deep/", 60) + "end", Mode: file}, "deep")
	put(t, &b, tree.Entry{Path: strings.Repeat("n", 255), Mode: file}, "long name")
	put(t, &b, tree.Entry{Path: "dev/null", Mode: tree.TypeChar | 0o666, Rdev: tree.Makedev(1, 3)}, "")
	put(t, &b, tree.Entry{Path: "dev/disk", Mode: tree.TypeBlock | 0o660, Rdev: tree.Makedev(259, 70000)}, "")
	put(t, &b, tree.Entry{Path: "fifo", Mode: tree.TypeFIFO | 0o600}, "")
	put(t, &b, tree.Entry{Path: "socket", Mode: tree.TypeSocket | 0o600}, "")
	put(t, &b, tree.Entry{Path: "link", Mode: tree.TypeSymlink | 0o777, Link: "su"}, "")
	put(t, &b, tree.Entry{Path: "longlink", Mode: tree.TypeSymlink | 0o777, Link: strings.Repeat("l/", 2047) + "x"}, "")
	put(t, &b, tree.Entry{Path: "attrs", Mode: file, Xattrs: map[string]string{
		"user.a": "1", "user.empty": "", "security.capability": "\x01\x00\xff", "trusted.x": random(300),
	}}, "with attributes")
	put(t, &b, tree.Entry{Path: "bigattr", Mode: file, Xattrs: map[string]string{"user.big": random(9000)}}, random(5000))
	put(t, &b, tree.Entry{Path: "first", Mode: file}, "shared")
	for _, name := range []string{"second", "tmp/third"} {
		if err := b.Link(name, "first"); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

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
	want := sample(t)
	name := written(t, want, epoch)
	out := filepath.Join(t.TempDir(), "out")
	judge.Run(t, "fsck.erofs", "--extract="+out, name)
	for e, err := range want.All() {
		if err != nil {
			t.Fatal(err)
		}
		compare(t, want, &e, filepath.Join(out, e.Path))
	}
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

// compare looks at one extracted file.
func compare(t *testing.T, want tree.Tree, e *tree.Entry, file string) {
	t.Helper()
	info, err := os.Lstat(file)
	if err != nil {
		if e.Type() == tree.TypeSocket {
			return // fsck.erofs makes none
		}
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	// fsck.erofs gives files their owners last, which takes set-id bits away;
	// Linux, when it mounts the image, shows them.
	if os.Getuid() == 0 && (st.Mode != e.Mode&^0o6000 || st.Uid != e.UID || st.Gid != e.GID || (info.Mode()&fs.ModeDevice != 0 && st.Rdev != e.Rdev)) {
		t.Errorf("%s: mode %o, owner %d:%d, device %d, want %+v", e.Path, st.Mode, st.Uid, st.Gid, st.Rdev, e)
	}
	switch e.Type() {
	case tree.TypeRegular:
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := want.Open(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var contents bytes.Buffer
		if _, err := contents.ReadFrom(f); err != nil || !bytes.Equal(got, contents.Bytes()) {
			t.Errorf("%s: %d bytes differ from the %d it should have (%v)", e.Path, len(got), contents.Len(), err)
		}
	case tree.TypeSymlink:
		if got, err := os.Readlink(file); err != nil || got != e.Link {
			t.Errorf("%s leads to %q, %v", e.Path, got, err)
		}
	}
}

func TestReproducible(t *testing.T) {
	read := func(epoch int64) []byte {
		b, err := os.ReadFile(written(t, sample(t), epoch))
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
