package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/store"
)

// slowly sends half of a blob, tells, and waits with the rest.
func slowly(blob digest.Digest, half chan<- struct{}, release <-chan struct{}) func(http.ResponseWriter, *http.Request, []byte) []byte {
	return func(w http.ResponseWriter, req *http.Request, data []byte) []byte {
		if !strings.HasSuffix(req.URL.Path, blob.String()) || req.Method != http.MethodGet {
			return data
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		half <- struct{}{}
		<-release
		return nil
	}
}

// instead serves other bytes for a blob.
func instead(blob digest.Digest, other func([]byte) []byte) func(http.ResponseWriter, *http.Request, []byte) []byte {
	return func(_ http.ResponseWriter, req *http.Request, data []byte) []byte {
		if strings.HasSuffix(req.URL.Path, blob.String()) {
			return other(data)
		}
		return data
	}
}

func flipped(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

// one is a registry with one image r.host()/x:1 of one layer, tar.
func one(t *testing.T) (r *registry, tar []byte, layer digest.Digest) {
	t.Helper()
	c := newContent()
	tar = tarball(t, "f", 500_000)
	c.names["x:1"] = c.image(t, "linux/amd64", gz(tar)).Digest
	return serve(t, c), tar, digest.FromBytes(gzipped(tar))
}

func TestResume(t *testing.T) {
	t.Parallel()
	r, tar, layer := one(t)
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	r.setFault(cut(layer))
	mustFail(t, s, r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: registry "+r.host()+" answered 503 Service Unavailable")
	if r.count("GET blobs "+layer.String()+" bytes=") < 2 {
		t.Errorf("not tried again:\n%s", strings.Join(r.log, "\n"))
	}
	r.setFault(nil)
	r.log = nil
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
	if r.count("GET blobs "+layer.String()+" bytes=") != 1 || r.count("GET blobs "+layer.String()) != 1 {
		t.Errorf("not resumed:\n%s", strings.Join(r.log, "\n"))
	}
}

// A partial download can have lost what it had, say in a power cut.
func TestResumeFromBadPartial(t *testing.T) {
	r, tar, layer := one(t)
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	for _, size := range []int{1000, len(gzipped(tar)), 2 * len(tar)} {
		write(t, filepath.Join(dir, "lkx", "partial", layer.Encoded()), make([]byte, size))
		mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
		if err := os.RemoveAll(filepath.Join(dir, "blobs")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "lkx", "layers")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongBytes(t *testing.T) {
	r, tar, layer := one(t)
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	bad := digest.FromBytes(flipped(gzipped(tar)))
	r.setFault(instead(layer, flipped))
	want := fmt.Sprintf("%s/x:1: digest mismatch for layer %s: got %s from registry %[1]s", r.host(), layer, bad)
	mustFail(t, s, r.host()+"/x:1", "linux/amd64", want)
	for _, name := range []string{blobPath(dir, layer), filepath.Join(dir, "lkx", "partial", layer.Encoded()), layerPath(dir, tar)} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was kept", name)
		}
	}
	if index, err := os.ReadFile(filepath.Join(dir, "index.json")); err != nil || bytes.Contains(index, []byte("x:1")) {
		t.Errorf("index.json names what is not whole: %s, %v", index, err)
	}
	r.setFault(instead(r.names["x:1"], flipped))
	mustFail(t, open(t, t.TempDir(), store.Options{}), r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: digest mismatch for manifest sha256:*: got sha256:* from registry "+r.host())
	r.setFault(nil)
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
}

func TestShortBlob(t *testing.T) {
	t.Parallel()
	r, tar, layer := one(t)
	r.setFault(instead(layer, func(data []byte) []byte { return data[:1000] }))
	s := open(t, t.TempDir(), store.Options{})
	mustFail(t, s, r.host()+"/x:1", "linux/amd64", fmt.Sprintf("%s/x:1: registry %[1]s has 1000 of the %d bytes of layer %s", r.host(), len(gzipped(tar)), layer))
	r.setFault(nil)
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
}

// A layer that is not what the image's config says is the image's fault.
func TestWrongDiffID(t *testing.T) {
	c := newContent()
	tar := tarball(t, "f", 1000)
	lie := packed{ocispec.MediaTypeImageLayerGzip, tar, func([]byte) []byte { return gzipped(flipped(tar)) }}
	cutOff := packed{ocispec.MediaTypeImageLayerGzip, tar, func(data []byte) []byte { return gzipped(data)[:500] }}
	c.names["x:1"] = c.image(t, "linux/amd64", lie).Digest
	c.names["x:2"] = c.image(t, "linux/amd64", cutOff).Digest
	r := serve(t, c)
	s := open(t, t.TempDir(), store.Options{})
	mustFail(t, s, r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: unpacking layer sha256:*: it holds sha256:*, the image's config says "+digest.FromBytes(tar).String())
	mustFail(t, s, r.host()+"/x:2", "linux/amd64", r.host()+"/x:2: unpacking layer sha256:*: gzip: unexpected EOF")
}

func TestErrors(t *testing.T) {
	r, _, _ := one(t)
	host := r.host()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := closed.Addr().String()
	closed.Close()
	nowhere := "sha256:" + strings.Repeat("0", 64)
	c := r.content
	foreign := c.image(t, "linux/amd64", packed{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", tarball(t, "f", 1), gzipped})
	c.names["foreign:1"] = foreign.Digest
	c.names["schema1:1"] = c.add("application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1,"fsLayers":[]}`)).Digest
	chart := c.add("application/vnd.cncf.helm.config.v1+json", []byte(`{}`))
	c.names["chart:1"] = c.addJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: chart}).Digest
	c.names["junk:1"] = c.add(ocispec.MediaTypeImageManifest, []byte(`{}`)).Digest
	s := open(t, t.TempDir(), store.Options{})
	for ref, want := range map[string]string{
		host + "/x:2":          "not found in registry " + host + " (404)",
		host + "/y":            "not found in registry " + host + " (404)",
		host + "/x@" + nowhere: "not found in registry " + host + " (404)",
		dead + "/x:1":          "connecting to " + dead + ": connection refused",
		host + "/foreign:1":    "layer sha256:* is foreign (application/vnd.docker.image.rootfs.foreign.diff.tar.gzip): registries do not have its contents",
		host + "/schema1:1":    "manifest sha256:* is of docker's schema 1, which is no longer in use: build or push the image again",
		host + "/chart:1":      "not an image to run: its config is application/vnd.cncf.helm.config.v1+json",
		host + "/junk:1":       "sha256:* is neither an image manifest nor an index",
	} {
		full := ref
		if !strings.Contains(strings.TrimPrefix(ref, host), ":") && ref != dead+"/x:1" {
			full += ":latest"
		}
		mustFail(t, s, ref, "linux/amd64", full+": "+want)
	}
	mustFail(t, s, host+"/x:1", "linux/nonsense/y/z", host+`/x:1: platform "linux/nonsense/y/z": *`)
	mustFail(t, s, host+"/x:1", "linux/arm64", host+"/x:1: is for linux/amd64 only, not for linux/arm64")
}

func TestNotALayout(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.tex"), nil)
	_, err := store.Open(t.Context(), dir, store.Options{})
	checkError(t, err, "opening the image store "+dir+": not an OCI image layout, and not empty (it has thesis.tex): choose another directory")
	_, err = store.Open(t.Context(), t.TempDir(), store.Options{Layouts: []string{dir}})
	checkError(t, err, dir+" is not an OCI image layout: it has no index.json: *")
	_, err = store.Open(t.Context(), t.TempDir(), store.Options{Mirrors: map[string][]string{"docker.io": {"ftp://x"}}})
	checkError(t, err, `mirror "ftp://x" of docker.io: not a host or URL`)
}

// What a build that was killed left in the way is no obstacle.
func TestOpenAfterKill(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".tmp-123"), nil)
	write(t, filepath.Join(dir, "lkx", "locks", "index"), nil)
	r, tar, _ := one(t)
	write(t, layerPath(dir, tar)+".part", []byte("half"))
	mustPull(t, open(t, dir, store.Options{}), r.host()+"/x:1", "linux/amd64", tar)
}

func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	r, tar, layer := one(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, dir, store.Options{})
	// There is room for the blob, and none for the layer.
	mustFail(t, s, r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: unpacking layer "+layer.String()+": write *: no space left on device")
	if left, _ := filepath.Glob(filepath.Join(dir, "lkx", "layers", "sha256", "*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Remove(blobPath(dir, layer)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ballast"), make([]byte, 300_000))
	mustFail(t, s, r.host()+"/x:1", "linux/amd64", r.host()+"/x:1: write *: no space left on device")
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=2m"); err != nil {
		t.Fatal(err)
	}
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
}

// Who gives up is heard at once, and loses nothing.
func TestCancel(t *testing.T) {
	r, tar, layer := one(t)
	half, release := make(chan struct{}), make(chan struct{})
	r.setFault(slowly(layer, half, release))
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	img, err := s.Resolve(t.Context(), r.host()+"/x:1", "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-half
		cancel(errors.New("changed my mind"))
	}()
	start := time.Now()
	_, err = s.Layers(ctx, img, "linux/amd64")
	checkError(t, err, r.host()+"/x:1: changed my mind")
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
	close(release)
	r.setFault(nil)
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
}
