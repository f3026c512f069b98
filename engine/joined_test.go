package engine

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lkx-os/lkx/formats"
)

// TestJoined gives the parts in any order; they are in theirs.
func TestJoined(t *testing.T) {
	parts := []string{"first, ", "", "third, ", strings.Repeat("long, ", 1000), "last"}
	for range 20 {
		f, err := os.Create(filepath.Join(t.TempDir(), "initrd"))
		if err != nil {
			t.Fatal(err)
		}
		j := &joined{f: f, parts: make([]formats.Blob, len(parts))}
		for _, i := range rand.Perm(len(parts)) {
			part := formats.Blob{Size: int64(len(parts[i])), Open: func() (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader([]byte(parts[i]))), nil
			}}
			if err := j.add(i, part); err != nil {
				t.Fatal(err)
			}
		}
		name, err := j.close()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != strings.Join(parts, "") {
			t.Errorf("%.40q, %v", got, err)
		}
	}
}

// TestJoinedOrNot makes the same initrd while segments are made, and of segments
// that are there; alone, and beside other formats.
func TestJoinedOrNot(t *testing.T) {
	for name, yml := range map[string]string{
		"plain":     text,
		"microcode": strings.Replace(text, "cmdline", "ucode: ucode.cpio, cmdline", 1),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.images.put(t, "kernel", "kernel=the kernel", "ucode.cpio=microcode")
			b.format = "kernel+initrd,tar-kernel-initrd"
			cache := b.Cache
			var joined atomic.Bool
			b.Cache = racing{cache, func() {
				if all, _ := filepath.Glob(filepath.Join(b.dir, "out", ".lkx-*", ".initrd")); all != nil {
					joined.Store(true)
				}
			}}
			made := b.mustBuild(yml)
			b.Cache = cache
			if joined.Load() != (name == "plain") {
				t.Errorf("segments are joined while others are made: %v", joined.Load())
			}
			if err := os.RemoveAll(filepath.Join(b.dir, "out")); err != nil {
				t.Fatal(err)
			}
			found := b.mustBuild(yml)
			b.check("make kernel+initrd", "make tar-kernel-initrd")
			if !maps.Equal(made, found) {
				t.Error("the files are others")
			}
			b.write("own", "other")
			changed := b.mustBuild(yml)
			if err := os.RemoveAll(filepath.Join(b.dir, "out")); err != nil {
				t.Fatal(err)
			}
			if again := b.mustBuild(yml); !maps.Equal(changed, again) || changed["os-initrd.img"] == made["os-initrd.img"] {
				t.Error("after a change, the files are others")
			}
			if info, err := os.Stat(filepath.Join(b.dir, "out", "os-initrd.img")); err != nil || info.Mode().Perm() != 0o644 {
				t.Error(info.Mode(), err)
			}
		})
	}
}
