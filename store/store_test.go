package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/store"
)

// childRef, in the environment, makes this program a build of its own that
// pulls the image it names, or does what gc_test.go has for it.
const (
	childRef = "LKX_TEST_STORE_REF"
	childDir = "LKX_TEST_STORE_DIR"
)

func childMain(dir, ref string) error {
	if task := childTask(ref); task != nil {
		return task(dir)
	}
	s, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return err
	}
	_, err = pull(s, ref, "linux/amd64")
	return err
}

func TestMain(m *testing.M) {
	if ref := os.Getenv(childRef); ref != "" {
		if err := childMain(os.Getenv(childDir), ref); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The developer's own credentials are none of these tests' business.
	os.Setenv("DOCKER_CONFIG", os.TempDir()+"/no-such-directory")
	os.Exit(m.Run())
}

// child is this program, as another process that pulls ref into dir.
func child(t *testing.T, dir, ref string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRef+"="+ref, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func open(t *testing.T, dir string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// pull resolves ref and reads its layers, each to a digest.
func pull(s *store.Store, ref, platform string) ([]digest.Digest, error) {
	ctx := context.Background()
	img, err := s.Resolve(ctx, ref, platform)
	if err != nil {
		return nil, err
	}
	layers, err := s.Layers(ctx, img, platform)
	if err != nil {
		return nil, err
	}
	var out []digest.Digest
	for _, l := range layers {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(l, 0, l.Size())); err != nil {
			return nil, err
		}
		out = append(out, digest.NewDigest(digest.SHA256, sum))
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func mustPull(t *testing.T, s *store.Store, ref, platform string, want ...[]byte) {
	t.Helper()
	got, err := pull(s, ref, platform)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d layers, want %d", len(got), len(want))
	}
	for i := range want {
		if d := digest.FromBytes(want[i]); got[i] != d {
			t.Errorf("layer %d: %s, want %s", i, got[i], d)
		}
	}
}

// mustFail pulls and compares the error with want, in which * stands for
// anything.
func mustFail(t *testing.T, s *store.Store, ref, platform, want string) {
	t.Helper()
	_, err := pull(s, ref, platform)
	checkError(t, err, want)
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %q", err)
	}
	rest, parts := err.Error(), strings.Split(want, "*")
	for i, p := range parts {
		at := strings.Index(rest, p)
		if at < 0 || i == 0 && at > 0 || i == len(parts)-1 && !strings.HasSuffix(rest, p) {
			t.Fatalf("error\n\t%s\nwant\n\t%s", err, want)
		}
		rest = rest[at+len(p):]
	}
}

func blobPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Encoded())
}

func layerPath(dir string, tar []byte) string {
	return filepath.Join(dir, "lkx", "layers", "sha256", digest.FromBytes(tar).Encoded())
}

func TestPull(t *testing.T) {
	one, two := tarball(t, "one", 300_000), tarball(t, "two", 5000)
	for name, layers := range map[string][]packed{
		"gzip":   {gz(one), gz(two)},
		"zstd":   {{ocispec.MediaTypeImageLayerZstd, one, zstded}, {ocispec.MediaTypeImageLayerZstd, two, zstded}},
		"plain":  {{ocispec.MediaTypeImageLayer, one, plain}, gz(two)},
		"docker": {{"application/vnd.docker.image.rootfs.diff.tar.gzip", one, gzipped}, gz(two)},
		"liar":   {{ocispec.MediaTypeImageLayerGzip, one, zstded}, {ocispec.MediaTypeImageLayerGzip, two, plain}},
		"again":  {gz(one), gz(two), gz(one)},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContent()
			img := c.image(t, "linux/amd64", layers...)
			c.names["a/b:latest"] = img.Digest
			r := serve(t, c)
			dir := t.TempDir()
			s := open(t, dir, store.Options{})
			var want [][]byte
			for _, l := range layers {
				want = append(want, l.tar)
			}
			mustPull(t, s, r.host()+"/a/b", "linux/amd64", want...)
			if n := r.count("GET blobs"); n != 3 { // the config and two layers
				t.Errorf("%d blobs fetched:\n%s", n, strings.Join(r.log, "\n"))
			}
			// A tag is asked for again, and no more than that.
			r.log = nil
			mustPull(t, s, r.host()+"/a/b:latest", "linux/amd64", want...)
			if len(r.log) != 1 || r.count("HEAD manifests latest") != 1 {
				t.Errorf("second time:\n%s", strings.Join(r.log, "\n"))
			}
			// A digest is not.
			r.log = nil
			mustPull(t, s, r.host()+"/a/b@"+img.Digest.String(), "linux/amd64", want...)
			mustPull(t, s, r.host()+"/a/b:v9@"+img.Digest.String(), "linux/amd64", want...)
			if len(r.log) != 0 {
				t.Errorf("by digest:\n%s", strings.Join(r.log, "\n"))
			}
		})
	}
}

func TestResolve(t *testing.T) {
	c := newContent()
	img := c.image(t, "linux/amd64", gz(tarball(t, "f", 10)))
	index := c.index(t, img)
	c.names["library/x:latest"] = index.Digest
	r := serve(t, c)
	s := open(t, t.TempDir(), store.Options{Mirrors: map[string][]string{"docker.io": {r.URL}}})
	got, err := s.Resolve(context.Background(), "x", "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	if got.Ref != "docker.io/library/x:latest" || got.Digest != index.Digest.String() || !bytes.Contains(got.Config, []byte(`"architecture":"amd64"`)) {
		t.Errorf("got %+v, config %s", got, got.Config)
	}
	byDigest, err := s.Resolve(context.Background(), "x@"+img.Digest.String(), "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	if byDigest.Ref != "docker.io/library/x@"+img.Digest.String() || byDigest.Digest != img.Digest.String() {
		t.Errorf("got %+v", byDigest)
	}
	_, err = s.Resolve(context.Background(), "X", "linux/amd64")
	checkError(t, err, `image "X": invalid reference format: repository name (library/X) must be lowercase`)
}

func TestProgress(t *testing.T) {
	c := newContent()
	tar := tarball(t, "f", 2_000_000)
	img := c.image(t, "linux/amd64", gz(tar), gz(tarball(t, "g", 1000)))
	c.names["p:1"] = img.Digest
	r := serve(t, c)
	var busy sync.Mutex
	finished, last := map[string]bool{}, map[string]int64{}
	s := open(t, t.TempDir(), store.Options{Progress: func(e store.Event) {
		if !busy.TryLock() {
			t.Error("two calls at a time")
			return
		}
		defer busy.Unlock()
		time.Sleep(time.Millisecond)
		key := e.Op + " " + e.Digest
		if e.Ref != r.host()+"/p:1" || e.Done < last[key] || e.Done > e.Total || finished[key] || e.Finished != (e.Done == e.Total) {
			t.Errorf("event %+v after %d", e, last[key])
		}
		last[key], finished[key] = e.Done, e.Finished
	}})
	mustPull(t, s, r.host()+"/p:1", "linux/amd64", tar, tarball(t, "g", 1000))
	pulls, unpacks := 0, 0
	for key, done := range finished {
		if !done {
			t.Errorf("%s did not finish", key)
		}
		if strings.HasPrefix(key, "pull ") {
			pulls++
		} else {
			unpacks++
		}
	}
	if pulls != 4 || unpacks != 2 { // manifest, config, two layers
		t.Errorf("%d pulls, %d unpacks", pulls, unpacks)
	}
}

// A tag that moved has one meaning, the new one.
func TestTagMoves(t *testing.T) {
	c := newContent()
	r := serve(t, c)
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	for _, name := range []string{"before", "after"} {
		tar := tarball(t, name, 100)
		img := c.image(t, "linux/amd64", gz(tar))
		c.names["m:1"] = img.Digest
		mustPull(t, s, r.host()+"/m:1", "linux/amd64", tar)
		mustPull(t, open(t, dir, store.Options{Offline: true}), r.host()+"/m:1", "linux/amd64", tar)
		index, err := os.ReadFile(filepath.Join(dir, "index.json"))
		if err != nil || bytes.Count(index, []byte(`"digest"`)) != 1 || !bytes.Contains(index, []byte(img.Digest)) {
			t.Errorf("index.json: %s, %v", index, err)
		}
	}
}

// Eight goroutines, each with a store of its own, and two processes pull one
// image into one directory: each blob is fetched once, and all is right.
func TestParallel(t *testing.T) {
	c := newContent()
	var layers []packed
	var want [][]byte
	for i := range 6 {
		tar := tarball(t, fmt.Sprint("layer", i), 400_000)
		layers, want = append(layers, gz(tar)), append(want, tar)
	}
	c.names["big:1"] = c.image(t, "linux/amd64", layers...).Digest
	r := serve(t, c)
	dir, ref := filepath.Join(t.TempDir(), "store"), r.host()+"/big:1"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), dir, store.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			got, err := pull(s, ref, "linux/amd64")
			if err != nil {
				t.Error(err)
			}
			for i, d := range got {
				if d != digest.FromBytes(want[i]) {
					t.Errorf("layer %d: %s", i, d)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			if err := child(t, dir, ref).Run(); err != nil {
				t.Errorf("process: %v", err)
			}
		})
	}
	wg.Wait()
	if n := r.count("GET"); n != 8 { // manifest, config, six layers
		t.Errorf("%d fetches", n)
	}
	for _, p := range []string{"lkx/partial/*", "lkx/layers/sha256/*.part", ".tmp-*"} {
		if left, _ := filepath.Glob(filepath.Join(dir, p)); left != nil {
			t.Errorf("left behind: %v", left)
		}
	}
}

// Two images share a layer, and are pulled at once: it is fetched once.
func TestLayerOfTwo(t *testing.T) {
	c := newContent()
	base := tarball(t, "base", 2_000_000)
	own := map[string][]byte{}
	for _, name := range []string{"a:1", "b:1", "c:1"} {
		own[name] = tarball(t, name, 1000)
		c.names[name] = c.image(t, "linux/amd64", gz(base), gz(own[name])).Digest
	}
	r := serve(t, c)
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	var wg sync.WaitGroup
	for name, top := range own {
		wg.Go(func() {
			got, err := pull(s, r.host()+"/"+name, "linux/amd64")
			if want := []digest.Digest{digest.FromBytes(base), digest.FromBytes(top)}; !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		})
	}
	wg.Wait()
	if n := r.count("GET blobs " + digest.FromBytes(gzipped(base)).String()); n != 1 {
		t.Errorf("the shared layer was fetched %d times", n)
	}
	off := open(t, dir, store.Options{Offline: true}) // all three have their names
	for name, top := range own {
		mustPull(t, off, r.host()+"/"+name, "linux/amd64", base, top)
	}
}

// A process that is killed in the middle of a download leaves what the next
// one goes on with.
func TestKilled(t *testing.T) {
	c := newContent()
	tar := tarball(t, "f", 3_000_000)
	img := c.image(t, "linux/amd64", gz(tar))
	c.names["k:1"] = img.Digest
	r := serve(t, c)
	layer := digest.FromBytes(gzipped(tar))
	half, release := make(chan struct{}), make(chan struct{})
	r.setFault(slowly(layer, half, release))
	dir := t.TempDir()
	cmd := child(t, dir, r.host()+"/k:1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-half
	partial := filepath.Join(dir, "lkx", "partial", layer.Encoded())
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(partial); err == nil && info.Size() > 1_000_000 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no partial download")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	close(release)
	r.setFault(nil)
	if _, err := os.Stat(blobPath(dir, layer)); err == nil {
		t.Fatal("half a blob has its final name")
	}
	mustPull(t, open(t, dir, store.Options{}), r.host()+"/k:1", "linux/amd64", tar)
	if r.count("GET blobs "+layer.String()+" bytes=") != 1 {
		t.Errorf("not resumed:\n%s", strings.Join(r.log, "\n"))
	}
}
