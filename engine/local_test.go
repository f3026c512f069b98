package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/store"
)

// fakeImages are images of one layer each, by their short names.
type fakeImages struct {
	layers map[string][]byte
	opened atomic.Int32
}

func (f *fakeImages) put(t *testing.T, name string, files ...string) {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, file := range files {
		path, text, _ := strings.Cut(file, "=")
		err := w.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f.layers["docker.io/x/"+name+":1"] = buf.Bytes()
}

func (f *fakeImages) Resolve(_ context.Context, ref, _ string) (plan.Image, error) {
	layer, ok := f.layers[ref]
	if !ok {
		return plan.Image{}, fmt.Errorf("no image %s", ref)
	}
	d := digest.FromBytes(layer)
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		Config:   ocispec.ImageConfig{Cmd: []string{"/run"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{d}},
	})
	return plan.Image{Ref: ref, Digest: d.String(), Config: config}, err
}

func (f *fakeImages) Pin(context.Context, string) (plan.Image, error) {
	return plan.Image{}, errors.ErrUnsupported
}

func (f *fakeImages) Manifest(context.Context, plan.Image, ocispec.Descriptor) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (f *fakeImages) Blob(context.Context, plan.Blob) (string, error) {
	return "", errors.ErrUnsupported
}

func (f *fakeImages) Layers(_ context.Context, img plan.Image, _ string) ([]assemble.Layer, error) {
	f.opened.Add(1)
	return []assemble.Layer{layer{bytes.NewReader(f.layers[img.Ref])}}, nil
}

type layer struct{ *bytes.Reader }

func (layer) Close() error { return nil }

// bench is a place to build in.
type bench struct {
	*Local
	t      *testing.T
	images *fakeImages
	dir    string // with the sources, out and the store
	format string

	mu   sync.Mutex
	hits []string // of the last build, sorted
	made []string
}

const text = `
kernel: {image: "x/kernel:1", cmdline: console=ttyS0, tar: none}
services:
  - {name: a, image: "x/a:1"}
  - {name: b, image: "x/b:1"}
files:
  - {path: etc/own, source: own}
`

func newBench(t *testing.T) *bench {
	t.Helper()
	images := &fakeImages{layers: map[string][]byte{}}
	for _, name := range []string{"a", "b", "c"} {
		images.put(t, name, "run=this is "+name)
	}
	images.put(t, "kernel", "kernel=the kernel")
	b := &bench{t: t, images: images, dir: t.TempDir(), format: "kernel+initrd"}
	s, err := store.Open(t.Context(), filepath.Join(b.dir, "store"), store.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b.Local = &Local{Images: images, Cache: s, Program: "test"}
	b.write("own", "one")
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// build builds yml, which gives the files of out by name.
func (b *bench) build(yml string) (map[string]string, error) {
	b.t.Helper()
	list, err := formats.Lookup(b.format)
	if err != nil {
		b.t.Fatal(err)
	}
	b.hits, b.made = nil, nil
	b.images.opened.Store(0)
	names, err := b.Build(b.t.Context(), Request{
		Files: []*source.File{{Name: "os.yml", Data: []byte(yml)}}, Dir: b.dir, Platform: "linux/amd64",
		Formats: list, Base: "os", Out: filepath.Join(b.dir, "out"), Status: b.status,
	})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(b.dir, "out", name))
		if err != nil {
			b.t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out, nil
}

func (b *bench) mustBuild(yml string) map[string]string {
	b.t.Helper()
	out, err := b.build(yml)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) status(s *client.SolveStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range s.Vertexes {
		switch {
		case v.Cached:
			b.hits = append(b.hits, v.Name)
		case v.Completed != nil && v.Name != "resolve images":
			b.made = append(b.made, v.Name)
		}
	}
	slices.Sort(b.hits)
	slices.Sort(b.made)
}

// check compares what was made in the last build.
func (b *bench) check(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.made, want) {
		b.t.Errorf("made %q, want %q; cached: %q", b.made, want, b.hits)
	}
}

func TestOnlyWhatChanged(t *testing.T) {
	b := newBench(t)
	first := b.mustBuild(text)
	b.check("make kernel+initrd", "segment files", "segment layout", "segment services/a", "segment services/b")
	changed := b.mustBuild(strings.Replace(text, "x/b:1", "x/c:1", 1))
	b.check("make kernel+initrd", "segment services/b")
	if n := b.images.opened.Load(); n != 2 { // the kernel's, and the new one
		t.Errorf("%d images were opened", n)
	}
	if maps.Equal(first, changed) {
		t.Error("another service gives the same files")
	}
	if again := b.mustBuild(text); !maps.Equal(first, again) {
		t.Error("the first manifest gives other files")
	}
	b.check("make kernel+initrd")
	b.mustBuild(strings.Replace(text, "ttyS0", "ttyS1", 1))
	b.check("make kernel+initrd")

	info, err := os.Stat(filepath.Join(b.dir, "own"))
	if err != nil {
		t.Fatal(err)
	}
	b.write("own", "two")
	if err := os.Chtimes(filepath.Join(b.dir, "own"), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	b.mustBuild(text)
	b.check("make kernel+initrd", "segment files")

	b.Program = "another"
	b.mustBuild(text)
	b.check("make kernel+initrd", "segment files", "segment layout", "segment services/a", "segment services/b")
}

// TestBlocks makes a root file system of which one service changed: the bytes are
// those that are made without a cache, and what did not change is not compressed
// again.
func TestBlocks(t *testing.T) {
	b := newBench(t)
	b.format = "kernel+squashfs"
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	b.images.put(t, "a", "run="+strings.Repeat("compressible ", 100_000), "noise="+string(noise), "small=x")
	b.mustBuild(text)
	changed := strings.Replace(text, "x/b:1", "x/c:1", 1)
	found := b.mustBuild(changed)
	b.check("make kernel+squashfs", "root file system: squashfs")

	fresh := newBench(t)
	fresh.format, fresh.images = b.format, b.images
	fresh.Images = b.images
	if want := fresh.mustBuild(changed); !maps.Equal(want, found) {
		t.Error("with the blocks of another root file system, the bytes are others")
	}
	known := (&local{Local: b.Local}).recentBlocks()
	defer known.Close()
	if n := len(b.Cache.Recent(kindBlocks, 9)); n != 2 {
		t.Errorf("blocks of %d root file systems, want 2", n)
	}
	for name, want := range map[string]struct {
		data []byte
		size bool
	}{"text": {[]byte(strings.Repeat("compressible ", 100_000))[:128<<10], true}, "noise": {noise[:128<<10], false}} {
		if out, ok := known.Find(nil, sha256.Sum256(want.data)); !ok || len(out) > 0 != want.size {
			t.Errorf("the first block of %s: known: %v, %d bytes", name, ok, len(out))
		}
	}
	other := &local{Local: &Local{Cache: b.Cache, Program: "another"}}
	if _, ok := other.recentBlocks().Find(nil, sha256.Sum256(noise[:128<<10])); ok {
		t.Error("another program uses our blocks")
	}
}

// TestLeftAlone builds twice: what is right keeps its inode and its time.
func TestLeftAlone(t *testing.T) {
	for _, format := range []string{"kernel+initrd", "kernel+squashfs", "tar"} {
		b := newBench(t)
		b.format = format
		out := b.mustBuild(text)
		before := map[string]os.FileInfo{}
		old := time.Unix(1e9, 0)
		for name := range out {
			path := filepath.Join(b.dir, "out", name)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			before[name], _ = os.Stat(path)
		}
		b.mustBuild(text)
		for name := range out {
			after, err := os.Stat(filepath.Join(b.dir, "out", name))
			if err != nil || !os.SameFile(before[name], after) || !after.ModTime().Equal(old) {
				t.Errorf("%s: %s was written again: %v", format, name, err)
			}
		}
		// One that is wrong is written, and the others stay.
		for name, right := range out {
			b.write(filepath.Join("out", name), strings.Repeat("x", len(right)))
			if again := b.mustBuild(text); !maps.Equal(out, again) {
				t.Errorf("%s: %s stays wrong", format, name)
			}
			break
		}
	}
}

// TestBadCache damages what the cache has.
func TestBadCache(t *testing.T) {
	for name, damage := range map[string]func(path string, text []byte) error{
		"flipped": func(path string, text []byte) error { text[0] ^= 1; return os.WriteFile(path, text, 0o644) },
		"cut":     func(path string, text []byte) error { return os.WriteFile(path, text[:len(text)/2], 0o644) },
		"empty":   func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o644) },
	} {
		b := newBench(t)
		out := b.mustBuild(text)
		all, err := filepath.Glob(filepath.Join(b.dir, "store/lkx/derived/segment/*"))
		if err != nil || len(all) != 4 {
			t.Fatalf("the cache has %q, %v", all, err)
		}
		for _, path := range all {
			made, err := os.ReadFile(path)
			if err == nil {
				err = damage(path, made)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if again := b.mustBuild(text); !maps.Equal(out, again) {
			t.Errorf("%s: the files are others", name)
		}
		b.check("make kernel+initrd", "segment files", "segment layout", "segment services/a", "segment services/b")
	}
}

// readOnly is a cache on a file system that is mounted so.
type readOnly struct{}

func (readOnly) Derive(context.Context, string, string, func(*store.Draft) error) (*store.Derived, error) {
	return nil, &os.PathError{Op: "open", Path: "x", Err: syscall.EROFS}
}

func (readOnly) Lookup(string, string) (*store.Derived, error) { return nil, nil }

func (readOnly) Recent(string, int) []string { return nil }

func TestReadOnlyCache(t *testing.T) {
	b := newBench(t)
	out := b.mustBuild(text)
	b.Cache = readOnly{}
	if again := b.mustBuild(text); !maps.Equal(out, again) {
		t.Error("the files are others")
	}
}

// racing changes a file while a segment is made from it.
type racing struct {
	Cache
	change func()
}

func (r racing) Derive(ctx context.Context, kind, key string, make func(*store.Draft) error) (*store.Derived, error) {
	return r.Cache.Derive(ctx, kind, key, func(f *store.Draft) error {
		r.change()
		return make(f)
	})
}

func TestChangedDuringBuild(t *testing.T) {
	b := newBench(t)
	b.mustBuild(text) // so that nothing else is to be made
	cache := b.Cache
	b.write("own", "three")
	b.Cache = racing{cache, func() { b.write("own", "two") }}
	if _, err := b.build(text); err == nil || !strings.Contains(err.Error(), "changed during the build") || !strings.Contains(err.Error(), "os.yml:7") {
		t.Errorf("the error is %v", err)
	}
	b.Cache = cache
	b.write("own", "three")
	b.mustBuild(text)
	if !slices.Contains(b.made, "segment files") {
		t.Errorf("the cache keeps what is wrong; made: %q", b.made)
	}
}

// TestLeftBehind finds directories of other builds beside its own.
func TestLeftBehind(t *testing.T) {
	b := newBench(t)
	dead, alive := filepath.Join(b.dir, "out/.lkx-dead"), filepath.Join(b.dir, "out/.lkx-alive")
	for _, dir := range []string{dead, alive} {
		if err := os.MkdirAll(filepath.Join(dir, "root"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockDir(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	b.mustBuild(text)
	left, err := filepath.Glob(filepath.Join(b.dir, "out/.*"))
	if err != nil || !slices.Equal(left, []string{alive}) {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestSideBySide runs several builds with one cache and one output.
func TestSideBySide(t *testing.T) {
	b := newBench(t)
	list, err := formats.Lookup(b.format)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := b.Build(t.Context(), Request{
				Files: []*source.File{{Name: "os.yml", Data: []byte(text)}}, Dir: b.dir, Platform: "linux/amd64",
				Formats: list, Base: "os", Out: filepath.Join(b.dir, "out"),
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all, _ := filepath.Glob(filepath.Join(b.dir, "out/.*")); all != nil {
		t.Errorf("left behind: %q", all)
	}
	before := b.mustBuild(text)
	b.check("make kernel+initrd")
	if len(before) != 3 {
		t.Errorf("%d files", len(before))
	}
}
