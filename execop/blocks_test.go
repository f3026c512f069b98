package execop

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/tree"
)

// block is a whole block of a squashfs.
var block = []byte(strings.Repeat("compressible ", 20_000)[:128<<10])

// TestKept keeps the blocks of one root file system, and finds them for the next
// of the same program.
func TestKept(t *testing.T) {
	k := kept{t.TempDir(), "id"}
	first := makeRoot(t, k, "1", string(block)+"x")
	if _, ok := mustBlocks(t, k).Find(nil, sha256.Sum256(block)); !ok {
		t.Error("a block that was kept is not found")
	}
	if _, ok := mustBlocks(t, kept{k.dir, "other"}).Find(nil, sha256.Sum256(block)); ok {
		t.Error("another program uses our blocks")
	}
	if again := makeRoot(t, k, "1", string(block)+"x"); !bytes.Equal(first, again) {
		t.Error("with known blocks the bytes are others")
	}
	if names := k.recent(); len(names) != 1 {
		t.Errorf("of one root file system, made twice, there are %q", names)
	}
}

// TestKeptFew makes more root file systems than are kept.
func TestKeptFew(t *testing.T) {
	k := kept{t.TempDir(), "id"}
	old := time.Now().Add(-time.Hour)
	for i := range formats.RecentRoots + 2 {
		makeRoot(t, k, fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 200_000))
		at := old.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(filepath.Join(k.dir, fmt.Sprintf("id-%d", i)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(k.recent()), "[id-5 id-4 id-3 id-2]"; got != want {
		t.Errorf("%s are kept, want %s", got, want)
	}
}

// TestKeptWrong has others write to the directory: what is wrong is not used.
func TestKeptWrong(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(block)
	for name, wrong := range map[string][]byte{
		"other contents":  keptFile(z.EncodeAll([]byte("something else"), nil), sum),
		"not compressed":  keptFile([]byte("no zstd at all"), sum),
		"a bomb":          keptFile(z.EncodeAll(make([]byte, 1<<30), nil), sum),
		"cut short":       keptFile(z.EncodeAll(block, nil), sum)[40:],
		"index too long":  {0, 0, 0, 0, 0, 0, 1, 0},
		"negative length": {0xff, 0, 0, 0, 0, 0, 0, 0},
		"nothing":         {},
	} {
		k := kept{t.TempDir(), "id"}
		if err := os.WriteFile(filepath.Join(k.dir, "id-wrong"), wrong, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, ok := mustBlocks(t, k).Find(nil, sum); ok {
			t.Errorf("%s: the block is used", name)
		}
		makeRoot(t, k, "right", string(block)+"x")
		if name == "nothing" {
			if _, ok := mustBlocks(t, k).Find(nil, sum); !ok {
				t.Error("a wrong file hides the right one")
			}
		}
	}
	right := kept{t.TempDir(), "id"}
	if err := syscall.Mkfifo(filepath.Join(right.dir, "id-pipe"), 0o644); err != nil { // to open it takes for ever
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(right.dir, "id-right"), keptFile(z.EncodeAll(block, nil), sum), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := mustBlocks(t, right).Find(nil, sum); !ok {
		t.Error("a file like the wrong ones, but right, is not used")
	}
}

// keptFile is a file that holds one block, said to have that sum.
func keptFile(compressed []byte, sum [sha256.Size]byte) []byte {
	index := append([]byte{}, sum[:]...)
	index = binary.LittleEndian.AppendUint64(index, 0)
	index = binary.LittleEndian.AppendUint32(index, uint32(len(compressed)))
	return binary.BigEndian.AppendUint64(append(compressed, index...), uint64(len(index)))
}

func mustBlocks(t *testing.T, k kept) *formats.KnownBlocks {
	t.Helper()
	known, err := k.blocks()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { known.Close() })
	return known
}

// makeRoot makes a squashfs with one file, and keeps it.
func makeRoot(t *testing.T, k kept, job, text string) []byte {
	t.Helper()
	var b tree.Builder
	if err := b.Put(tree.Entry{Path: "file", Mode: tree.TypeRegular | 0o644, Size: int64(len(text))}, tree.Bytes(text)); err != nil {
		t.Fatal(err)
	}
	known := mustBlocks(t, k)
	f, err := os.Create(filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := formats.WriteRoot(f, b.Tree(), formats.RootOptions{Kind: "squashfs", Blocks: known}); err != nil {
		t.Fatal(err)
	}
	if err := k.keep(f, known, job); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return made
}
