package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/store"
)

// family is a registry with images a:1 and b:1, which share a layer.
type family struct {
	*registry
	base, a, b []byte // layers, unpacked
}

func newFamily(t *testing.T) family {
	t.Helper()
	c := newContent()
	f := family{base: tarball(t, "base", 200_000), a: tarball(t, "a", 100_000), b: tarball(t, "b", 50_000)}
	c.names["a:1"] = c.image(t, "linux/amd64", gz(f.base), gz(f.a)).Digest
	c.names["b:1"] = c.index(t, c.image(t, "linux/amd64", gz(f.base), gz(f.b)), c.image(t, "linux/arm64", gz(f.base))).Digest
	f.registry = serve(t, c)
	return f
}

func (f family) pull(t *testing.T, s *store.Store) {
	t.Helper()
	mustPull(t, s, f.host()+"/a:1", "linux/amd64", f.base, f.a)
	mustPull(t, s, f.host()+"/b:1", "linux/amd64", f.base, f.b)
}

// alone opens a store to prune it.
func alone(t *testing.T, dir string) *store.Store {
	t.Helper()
	return open(t, dir, store.Options{Alone: true, NoWait: true, Offline: true})
}

func usage(t *testing.T, dir string) *store.Usage {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func imageNames(u *store.Usage) []string {
	var out []string
	for _, i := range u.Images {
		out = append(out, i.Name)
	}
	return out
}

// prune opens the store, prunes it, and closes it.
func prune(t *testing.T, dir string, p store.Policy) *store.Removed {
	t.Helper()
	s := alone(t, dir)
	defer s.Close()
	r, err := s.Prune(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pulled is a store with both images of f, closed.
func pulled(t *testing.T, f family) string {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	f.pull(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// used sets when the files of a path were of use.
func used(t *testing.T, when time.Time, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Chtimes(p, when, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsage(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	u := usage(t, dir)
	if want := []string{f.host() + "/a:1", f.host() + "/b:1"}; !slices.Equal(imageNames(u), want) {
		t.Fatalf("images %q", imageNames(u))
	}
	a, b := u.Images[0], u.Images[1]
	if !slices.Equal(a.Platforms, []string{"linux/amd64"}) || !slices.Equal(b.Platforms, []string{"linux/amd64"}) {
		t.Errorf("platforms %q, %q", a.Platforms, b.Platforms)
	}
	shared := int64(len(f.base) + len(gzipped(f.base)))
	if a.Size-a.Unique != shared || b.Size-b.Unique != shared {
		t.Errorf("sizes %d, %d; unique %d, %d; want %d shared", a.Size, b.Size, a.Unique, b.Unique, shared)
	}
	if all := a.Size + b.Unique; u.Size != all {
		t.Errorf("%d bytes, want %d", u.Size, all)
	}
	if want := int64(len(f.base) + len(f.a) + len(f.b)); u.Kinds[store.KindLayer] != (store.KindUsage{Files: 3, Size: want}) {
		t.Errorf("layers: %+v, want 3 of %d bytes", u.Kinds[store.KindLayer], want)
	}
	if time.Since(a.LastUsed) > time.Hour {
		t.Errorf("used %s", a.LastUsed)
	}
}

// TestPrune removes what no image needs, and nothing else.
func TestPrune(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	before := usage(t, dir)
	stray, layer, derived := bytes.Repeat([]byte("x"), 1000), tarball(t, "stray", 10), "lkx/derived/segment/0123"
	write(t, blobPath(dir, digest.FromBytes(stray)), stray)
	write(t, layerPath(dir, layer), layer)
	write(t, filepath.Join(dir, derived), stray)
	write(t, filepath.Join(dir, "lkx/partial/0123"), stray)
	write(t, filepath.Join(dir, "lkx/partial/import-1/blobs/x"), stray)
	write(t, filepath.Join(dir, ".tmp-1"), stray)
	write(t, layerPath(dir, f.a)+".part", stray)
	if r := prune(t, dir, store.Policy{DryRun: true}); r.Size != 5000+int64(len(layer)) || usage(t, dir).Size != before.Size+6000+int64(len(layer)) {
		t.Errorf("a dry run would remove %d and leaves %d", r.Size, usage(t, dir).Size)
	}
	r := prune(t, dir, store.Policy{})
	if r.Size != 5000+int64(len(layer)) || r.Left != before.Size+1000 || len(r.Images) != 0 {
		t.Errorf("removed %+v", r)
	}
	if got := usage(t, dir); got.Size != before.Size+1000 || got.Kinds[store.KindDerived].Files != 1 || got.Kinds[store.KindPartial].Files != 0 {
		t.Errorf("left %+v", got)
	}
	f.log = nil
	f.pull(t, open(t, dir, store.Options{}))
	if f.count("GET") != 0 {
		t.Errorf("fetched again:\n%s", strings.Join(f.log, "\n"))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "lkx/locks/layer-*")); left != nil {
		t.Errorf("locks are left: %v", left)
	}
}

// TestPruneOrder removes what was of use longest ago, be it an image or not.
func TestPruneOrder(t *testing.T) {
	f := newFamily(t)
	now := time.Now()
	top := func(dir, name string) string { return blobPath(dir, f.names[name]) }
	setup := func(t *testing.T) string {
		dir := pulled(t, f)
		derived := filepath.Join(dir, "lkx/derived/segment/0123")
		write(t, derived, make([]byte, 1000))
		used(t, now.Add(-3*time.Hour), derived)
		used(t, now.Add(-2*time.Hour), top(dir, "a:1"))
		used(t, now.Add(-time.Hour), top(dir, "b:1"))
		return dir
	}
	a, b := f.host()+"/a:1", f.host()+"/b:1"
	for name, c := range map[string]struct {
		p       store.Policy
		left    []string
		derived int
	}{
		"nothing":        {store.Policy{Size: 1 << 30}, []string{a, b}, 1},
		"one byte":       {store.Policy{Size: usage(t, setup(t)).Size - 1}, []string{a, b}, 0},
		"more":           {store.Policy{Size: usage(t, setup(t)).Size - 1001}, []string{b}, 0},
		"all by size":    {store.Policy{Size: 1}, nil, 0},
		"old":            {store.Policy{Before: now.Add(-150 * time.Minute)}, []string{a, b}, 0},
		"older":          {store.Policy{Before: now.Add(-90 * time.Minute)}, []string{b}, 0},
		"older and size": {store.Policy{Before: now.Add(-150 * time.Minute), Size: 600_000}, []string{b}, 0},
		"all":            {store.Policy{All: true}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := setup(t)
			r := prune(t, dir, c.p)
			u := usage(t, dir)
			if !slices.Equal(imageNames(u), c.left) || u.Kinds[store.KindDerived].Files != c.derived || u.Size != r.Left {
				t.Errorf("left: %q, %+v; said %d bytes", imageNames(u), u, r.Left)
			}
			if c.p.Size > 0 && u.Size > c.p.Size {
				t.Errorf("%d bytes left, want %d", u.Size, c.p.Size)
			}
			if c.left == nil && u.Size != 0 {
				t.Errorf("%d bytes left", u.Size)
			}
			f.pull(t, open(t, dir, store.Options{}))
		})
	}
}

// What is of use is noted: an image by asking for it, whatever file systems do.
func TestLastUse(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	long := time.Now().Add(-1000 * time.Hour)
	files, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	used(t, long, files...)
	s := open(t, dir, store.Options{})
	if _, err := s.Resolve(t.Context(), f.host()+"/b:1", "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	prune(t, dir, store.Policy{Before: time.Now().Add(-time.Hour)})
	if got := imageNames(usage(t, dir)); !slices.Equal(got, []string{f.host() + "/b:1"}) {
		t.Errorf("left: %q", got)
	}
}

func TestRemove(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	s := alone(t, dir)
	_, err := s.Remove(t.Context(), f.host()+"/a:2")
	var unknown *store.UnknownImageError
	if !errors.As(err, &unknown) || len(unknown.Known) != 2 {
		t.Errorf("error %v", err)
	}
	r, err := s.Remove(t.Context(), f.host()+"/a:1")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Images) != 1 || r.Kinds[store.KindLayer] != (store.KindUsage{Files: 1, Size: int64(len(f.a))}) {
		t.Errorf("removed %+v", r)
	}
	s.Close()
	mustPull(t, open(t, dir, store.Options{Offline: true}), f.host()+"/b:1", "linux/amd64", f.base, f.b)
	u := usage(t, dir)
	s = open(t, dir, store.Options{})
	if _, err := s.Remove(t.Context(), u.Images[0].Name); err == nil || usage(t, dir).Size != u.Size {
		t.Error("removed from under others")
	}
}

func TestVerify(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	whole(t, dir)
	derived := filepath.Join(dir, "lkx/derived/segment/0123")
	write(t, derived, []byte("not stamped"))
	bad := gzipped(f.a)
	write(t, blobPath(dir, digest.FromBytes(bad)), flipped(bad))
	stampOf := time.Unix(0, int64(len(f.b)))
	write(t, layerPath(dir, f.b), flipped(f.b))
	if err := os.Chtimes(layerPath(dir, f.b), time.Time{}, stampOf); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, store.Options{Offline: true})
	v, err := s.Verify(t.Context(), false)
	if err != nil || len(v.Faults) != 3 {
		t.Fatalf("%+v, %v", v, err)
	}
	if _, err := s.Verify(t.Context(), true); err == nil {
		t.Error("removed from under others")
	}
	s.Close()
	s = alone(t, dir)
	v, err = s.Verify(t.Context(), true)
	if err != nil || len(v.Faults) != 4 { // the image is one, without its blob
		t.Fatalf("%+v, %v", v, err)
	}
	if got := fmt.Sprint(v.Faults[3]); !strings.Contains(got, "/a:1: it is not whole: layer "+digest.FromBytes(bad).String()+" is missing") {
		t.Errorf("said %q", got)
	}
	s.Close()
	whole(t, dir)
	if got := imageNames(usage(t, dir)); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
	f.pull(t, open(t, dir, store.Options{}))
}

// Entries of index.json that others made are images, too.
func TestForeignIndex(t *testing.T) {
	c := newContent()
	img := c.image(t, "linux/amd64", gz(tarball(t, "f", 100)))
	dir := c.layoutDir(t, ocispec.Descriptor{MediaType: img.MediaType, Digest: img.Digest, Size: img.Size})
	if r := prune(t, dir, store.Policy{}); r.Size != 0 {
		t.Errorf("removed %+v", r)
	}
	if u := usage(t, dir); len(u.Images) != 1 || u.Images[0].Name != "" || len(u.Images[0].Platforms) != 1 {
		text, _ := json.Marshal(u)
		t.Errorf("%s", text)
	}
	s := alone(t, dir)
	if r, err := s.Remove(t.Context(), img.Digest.String()[:15]); err != nil || len(r.Images) != 1 || r.Left != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
