package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/store"
)

const (
	refName   = ocispec.AnnotationRefName
	imageName = "io.containerd.image.name"
)

func TestLayouts(t *testing.T) {
	c := newContent()
	tar, other := tarball(t, "amd64", 1000), tarball(t, "arm64", 1000)
	amd64, arm64 := c.image(t, "linux/amd64", gz(tar)), c.image(t, "linux/arm64", gz(other))
	index := c.index(t, amd64, arm64)
	bare := func(desc ocispec.Descriptor, key, name string) ocispec.Descriptor {
		desc.Platform = nil
		return named(desc, key, name)
	}
	src := c.layoutDir(t,
		named(index, refName, "ghcr.io/o/full:1"),
		named(index, imageName, "docker.io/library/short:latest"),
		named(index, refName, "familiar"),
		named(amd64, refName, "two:1"), named(arm64, refName, "two:1"),
		bare(arm64, refName, "bare:1"), bare(amd64, refName, "bare:1"),
	)
	dir := t.TempDir()
	s := open(t, dir, store.Options{Layouts: []string{newContent().layoutDir(t), src}})
	for _, ref := range []string{
		"ghcr.io/o/full:1", "short", "short:latest", "docker.io/library/short", "familiar", "two:1", "bare:1",
		"ghcr.io/o/other@" + index.Digest.String(), "x@" + amd64.Digest.String(),
	} {
		t.Run(ref, func(t *testing.T) {
			mustPull(t, s, ref, "linux/amd64", tar)
		})
	}
	mustPull(t, s, "two:1", "linux/arm64", other)
	mustFail(t, s, "two:1", "linux/s390x", "docker.io/library/two:1: no image for linux/s390x, only for: linux/amd64, linux/arm64")
	mustFail(t, s, "127.0.0.1:1/full:1", "linux/amd64", "127.0.0.1:1/full:1: connecting to 127.0.0.1:1: connection refused")
	if left, _ := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*")); left != nil {
		t.Errorf("copied from the layout: %v", left)
	}
}

// What a layout has of a registry's image is not fetched; the store then does
// not have the image whole, and does not say so.
func TestSharedLayer(t *testing.T) {
	here, there := newContent(), newContent()
	base, top := tarball(t, "base", 1000), tarball(t, "top", 1000)
	src := here.layoutDir(t, named(here.image(t, "linux/amd64", gz(base)), refName, "base:1"))
	there.names["x:1"] = there.image(t, "linux/amd64", gz(base), gz(top)).Digest
	r := serve(t, there)
	dir := t.TempDir()
	mustPull(t, open(t, dir, store.Options{Layouts: []string{src}}), r.host()+"/x:1", "linux/amd64", base, top)
	if r.count("GET blobs") != 2 { // config and top
		t.Errorf("fetched:\n%s", strings.Join(r.log, "\n"))
	}
	mustFail(t, open(t, dir, store.Options{Offline: true}), r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: not in the store, and the network is off")
}

// A layout is somebody else's: what is wrong in it is told, with the place.
func TestBadLayout(t *testing.T) {
	c := newContent()
	tar := tarball(t, "f", 1000)
	img := c.image(t, "linux/amd64", gz(tar))
	layer := digest.FromBytes(gzipped(tar))
	src := c.layoutDir(t, named(img, refName, "x:1"))
	write(t, blobPath(src, layer), flipped(gzipped(tar)))
	s := open(t, t.TempDir(), store.Options{Layouts: []string{src}, Offline: true})
	mustFail(t, s, "x:1", "linux/amd64", "docker.io/library/x:1: "+blobPath(src, layer)+": digest mismatch for layer "+layer.String()+": got sha256:*")
	write(t, blobPath(src, layer), gzipped(tar)[:500])
	mustFail(t, s, "x:1", "linux/amd64", "docker.io/library/x:1: layer "+layer.String()+" is in no layout, and the network is off")
	write(t, blobPath(src, img.Digest), []byte("{}"))
	mustFail(t, s, "x@"+img.Digest.String(), "linux/amd64", "docker.io/library/x@*: "+blobPath(src, img.Digest)+": digest mismatch for manifest *: got *")
}

func TestOffline(t *testing.T) {
	r, tar, layer := one(t)
	dir := t.TempDir()
	off := open(t, dir, store.Options{Offline: true})
	mustFail(t, off, r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: not in the store, and the network is off")
	mustPull(t, open(t, dir, store.Options{}), r.host()+"/x:1", "linux/amd64", tar)
	r.Close()
	mustPull(t, off, r.host()+"/x:1", "linux/amd64", tar)
	mustFail(t, open(t, dir, store.Options{}), r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: connecting to "+r.host()+": connection refused")
	mustFail(t, off, r.host()+"/x:1", "linux/arm64", r.host()+"/x:1: is for linux/amd64 only, not for linux/arm64")
	for _, name := range []string{layerPath(dir, tar), blobPath(dir, layer)} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	mustFail(t, off, r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: layer "+layer.String()+" is in no layout, and the network is off")
}

// The store mends what went bad in it, and notices that it did.
func TestMend(t *testing.T) {
	r, tar, layer := one(t)
	manifest := r.names["x:1"]
	ref := r.host() + "/x:1"
	edit := func(name string, f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), f(data))
		}
	}
	layerFile, _ := filepath.Rel("/", layerPath("/", tar))
	half := func(data []byte) []byte { return data[:len(data)/2] }
	same := func(data []byte) []byte { return data }
	for name, damage := range map[string]func(*testing.T, string){
		"layer changed":   edit(layerFile, flipped),
		"layer cut":       edit(layerFile, half),
		"layer touched":   edit(layerFile, same),
		"manifest":        edit("blobs/sha256/"+manifest.Encoded(), flipped),
		"manifest cut":    edit("blobs/sha256/"+manifest.Encoded(), half),
		"blob, unneeded":  edit("blobs/sha256/"+layer.Encoded(), flipped),
		"index.json gone": func(t *testing.T, dir string) { remove(t, dir, "index.json", "oci-layout") },
		"blob and layer": func(t *testing.T, dir string) {
			edit("blobs/sha256/"+layer.Encoded(), flipped)(t, dir)
			remove(t, dir, layerFile)
		},
		"blob cut, no layer": func(t *testing.T, dir string) {
			edit("blobs/sha256/"+layer.Encoded(), half)(t, dir)
			remove(t, dir, layerFile)
		},
		"all blobs": func(t *testing.T, dir string) { remove(t, dir, "blobs") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustPull(t, open(t, dir, store.Options{}), ref, "linux/amd64", tar)
			damage(t, dir)
			s := open(t, dir, store.Options{})
			mustPull(t, s, ref, "linux/amd64", tar)
			mustPull(t, s, r.host()+"/x@"+manifest.String(), "linux/amd64", tar)
			before, err := os.Stat(layerPath(dir, tar))
			if err != nil {
				t.Fatal(err)
			}
			if got := int64(before.ModTime().Nanosecond()); got != before.Size()%1e9 {
				t.Errorf("stamp %d of a layer of %d bytes", got, before.Size())
			}
		})
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// A store that cannot be written to does for what it has.
func TestReadOnly(t *testing.T) {
	r, tar, _ := one(t)
	dir := t.TempDir()
	mustPull(t, open(t, dir, store.Options{}), r.host()+"/x:1", "linux/amd64", tar)
	r.names["y:1"] = r.image(t, "linux/amd64", gz(tarball(t, "new", 10))).Digest
	if os.Getuid() == 0 { // whom no mode stops
		for _, flags := range []uintptr{syscall.MS_BIND, syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY} {
			if err := syscall.Mount(dir, dir, "", flags, ""); err != nil {
				t.Skipf("cannot mount: %v", err)
			}
		}
		defer func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		}()
	} else {
		chmod(t, "a-w", dir)
		defer chmod(t, "u+w", dir)
	}
	s := open(t, dir, store.Options{})
	defer s.Close() // or else it could not be unmounted
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
	mustFail(t, s, r.host()+"/y:1", "linux/amd64", r.host()+"/y:1: *lkx/locks/*: *")
	if _, err := store.Open(t.Context(), dir, store.Options{Alone: true, NoWait: true}); !errors.Is(err, store.ErrBusy) && !store.IsReadOnly(err) {
		t.Errorf("to be pruned: %v", err)
	}
}

func chmod(t *testing.T, mode, dir string) {
	t.Helper()
	if out, err := exec.Command("chmod", "-R", mode, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// Another program has the last word on whether this is an OCI image layout.
func TestSkopeo(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		if os.Getenv("LKX_TEST_E2E") == "1" {
			t.Fatal(err)
		}
		t.Skip("skopeo is not installed")
	}
	c := newContent()
	tar, second := tarball(t, "f", 100_000), tarball(t, "g", 10)
	amd64 := c.image(t, "linux/amd64", gz(tar), packed{ocispec.MediaTypeImageLayerZstd, second, zstded})
	c.names["a/x:1"] = c.index(t, amd64, c.image(t, "linux/arm64", gz(tarball(t, "h", 10)))).Digest
	c.names["a/y:2"] = amd64.Digest
	r := serve(t, c)
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	mustPull(t, s, r.host()+"/a/x:1", "linux/amd64", tar, second)
	mustPull(t, s, r.host()+"/a/y:2", "linux/amd64", tar, second)
	for _, name := range []string{"/a/x:1", "/a/y:2"} {
		src := "oci:" + dir + ":" + r.host() + name
		out, err := exec.Command(skopeo, "--override-arch", "amd64", "--override-os", "linux", "inspect", src).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got struct {
			Architecture string
			Layers       []string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if want := digest.FromBytes(gzipped(tar)).String(); got.Architecture != "amd64" || len(got.Layers) != 2 || got.Layers[0] != want {
			t.Errorf("%s: %s", name, out)
		}
		// Copying reads and verifies every blob; what comes out is a layout for us.
		copied := t.TempDir()
		dst := "oci:" + copied + ":copy:1"
		if out, err := exec.Command(skopeo, "--insecure-policy", "--override-arch", "amd64", "--override-os", "linux", "copy", src, dst).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		mustPull(t, open(t, t.TempDir(), store.Options{Layouts: []string{copied}, Offline: true}), "copy:1", "linux/amd64", tar, second)
	}
	if index, err := os.ReadFile(filepath.Join(dir, "index.json")); err != nil || strings.Count(string(index), `"digest"`) != 2 {
		t.Errorf("index.json: %s, %v", index, err)
	}
}
