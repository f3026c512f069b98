package squashfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/lkx-os/lkx/internal/judge"
	"github.com/lkx-os/lkx/tree"
	"github.com/lkx-os/lkx/tree/treetest"
)

const epoch = 1_000_000_000

// written writes t into a file.
func written(t testing.TB, tr tree.Tree, o Options) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, tr, o); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestByJudge has squashfs-tools list and extract the sample, and compares.
func TestByJudge(t *testing.T) {
	want := treetest.Sample(t)
	for _, size := range []int{0, 1 << 12, 1 << 20} {
		name := written(t, want, Options{Epoch: epoch, BlockSize: size})
		out := filepath.Join(t.TempDir(), "out")
		judge.Run(t, "unsquashfs", "-no-xattrs", "-no-progress", "-d", out, name)
		treetest.Compare(t, want, out)
		if size != 0 {
			continue
		}
		list := judge.Run(t, "unsquashfs", "-lln", "-UTC", name)
		for _, want := range []string{
			`-rwsr-xr-x 70000/80000 +6 2001-09-09 01:46 squashfs-root/su`,
			`crw-rw-rw- 0/0 *1, *3 2001-09-09 01:46 squashfs-root/dev/null`,
			`drwxrwxrwt 0/5 +\d+ 2001-09-09 01:46 squashfs-root/tmp`,
		} {
			if !regexp.MustCompile(want).MatchString(list) {
				t.Errorf("unsquashfs does not list %q", want)
			}
		}
		attributes(t, want, name)
	}
}

// attributes extracts files with extended attributes, and one with three names.
func attributes(t *testing.T, tr tree.Tree, image string) {
	t.Helper()
	if os.Getuid() != 0 {
		return // only root can give files all of theirs
	}
	out := filepath.Join(t.TempDir(), "out")
	judge.Run(t, "unsquashfs", "-no-progress", "-d", out, image, "attrs0", "attrs1", "attrs2", "first", "second", "tmp/third")
	for e, err := range tr.All() {
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(out, e.Path)
		if strings.HasPrefix(e.Path, "attrs") {
			for key, want := range e.Xattrs {
				buf := make([]byte, 1000)
				if n, err := syscall.Getxattr(name, key, buf); err != nil || string(buf[:n]) != want {
					t.Errorf("%s: %s is %q (%v)", e.Path, key, buf[:max(n, 0)], err)
				}
			}
		}
		if e.Path == "tmp/third" {
			info, err := os.Stat(name)
			if err != nil || info.Sys().(*syscall.Stat_t).Nlink != 3 {
				t.Errorf("%s: %+v, %v", e.Path, info, err)
			}
		}
	}
}

// TestReproducible writes on one processor and on several.
func TestReproducible(t *testing.T) {
	tr := treetest.Sample(t)
	read := func(epoch int64) []byte {
		b, err := os.ReadFile(written(t, tr, Options{Epoch: epoch}))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := read(epoch)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !bytes.Equal(first, read(epoch)) {
		t.Error("a second image differs")
	}
	one, err1 := UUID(bytes.NewReader(first))
	two, err2 := UUID(bytes.NewReader(read(epoch + 1)))
	if err1 != nil || err2 != nil || one == two || one[14] != '8' || len(first)%padding != 0 {
		t.Errorf("UUIDs %s and %s, %v, %v, of %d bytes", one, two, err1, err2, len(first))
	}
}

func TestEmpty(t *testing.T) {
	name := written(t, (&tree.Builder{}).Tree(), Options{})
	if list := judge.Run(t, "unsquashfs", "-lln", name); strings.Count(list, "squashfs-root") != 1 {
		t.Errorf("unsquashfs lists:\n%s", list)
	}
}

func TestRefuses(t *testing.T) {
	for what, e := range map[string]tree.Entry{
		"a long target":       {Mode: tree.TypeSymlink | 0o777, Link: strings.Repeat("x", 4096)},
		"an empty target":     {Mode: tree.TypeSymlink | 0o777},
		"a large device":      {Mode: tree.TypeChar, Rdev: tree.Makedev(1<<12, 0)},
		"a strange attribute": {Mode: tree.TypeFIFO, Xattrs: map[string]string{"system.posix_acl_access": ""}},
		"a large attribute":   {Mode: tree.TypeFIFO, Xattrs: map[string]string{"user.a": strings.Repeat("x", 1<<16)}},
		"a short file":        {Mode: tree.TypeRegular, Size: 10},
		"a long file":         {Mode: tree.TypeRegular, Size: 3},
		"a short large file":  {Mode: tree.TypeRegular, Size: 1 << 18},
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
	for _, o := range []Options{{BlockSize: 5000}, {BlockSize: 1 << 21}, {Epoch: -1}, {Epoch: 1 << 32}} {
		if err := Write(nil, (&tree.Builder{}).Tree(), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	tr, err := tree.Dir("/usr/share/doc")
	if err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		written(b, tr, Options{})
	}
}

// keeper keeps the blocks of one file system in memory.
type keeper struct {
	mu    sync.Mutex
	image []byte
	at    map[[sha256.Size]byte][2]int64 // start and size
	found int
	made  int
}

func (k *keeper) Find(dst []byte, sum [sha256.Size]byte) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.at[sum]
	if !ok || k.image == nil {
		return nil, false
	}
	k.found++
	return append(dst, k.image[at[0]:at[0]+at[1]]...), true
}

func (k *keeper) Made(sum [sha256.Size]byte, start int64, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	k.at[sum] = [2]int64{start, int64(size)}
}

// TestBlocks writes a tree, and then another with the blocks of the first.
func TestBlocks(t *testing.T) {
	sample := func(own string) tree.Tree {
		var b tree.Builder
		if err := b.Add("", treetest.Sample(t), nil); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			text := strings.Repeat(fmt.Sprint("small file ", i), 200)
			if i == 100 {
				text = own
			}
			if err := b.Put(tree.Entry{Path: fmt.Sprintf("s/%03d", i), Mode: tree.TypeRegular | 0o644, Size: int64(len(text))}, tree.Bytes(text)); err != nil {
				t.Fatal(err)
			}
		}
		noise := make([]byte, 1<<18)
		rand.NewChaCha8([32]byte{1}).Read(noise)
		if err := b.Put(tree.Entry{Path: "noise", Mode: tree.TypeRegular | 0o644, Size: 1 << 18}, tree.Bytes(string(noise))); err != nil {
			t.Fatal(err)
		}
		return b.Tree()
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	k := &keeper{at: map[[sha256.Size]byte][2]int64{}}
	first := read(written(t, sample("one"), Options{Epoch: epoch, Blocks: k}))
	if !bytes.Equal(first, read(written(t, sample("one"), Options{Epoch: epoch}))) {
		t.Error("Blocks that have none change the bytes")
	}
	all := k.made
	k.image, k.made = first, 0
	second := read(written(t, sample("another"), Options{Epoch: epoch, Blocks: k}))
	if k.made != all || k.found < all-2 || k.found == all {
		t.Errorf("of %d blocks %d were found, and of the others %d made", all, k.found, k.made)
	}
	if !bytes.Equal(second, read(written(t, sample("another"), Options{Epoch: epoch}))) {
		t.Error("Blocks change the bytes")
	}
}
