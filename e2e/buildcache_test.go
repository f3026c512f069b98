package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counter is a registry in front of another, which keeps account of the blobs
// that are fetched.
type counter struct {
	*httptest.Server
	mu    sync.Mutex
	blobs map[string]bool // digests
}

func newCounter(t *testing.T, registry string) *counter {
	t.Helper()
	c := &counter{blobs: map[string]bool{}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, d, ok := strings.Cut(r.URL.Path, "/blobs/"); ok && r.Method == http.MethodGet {
			c.mu.Lock()
			c.blobs[d] = true
			c.mu.Unlock()
		}
		r.Host = registry
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *counter) addr() string { return strings.TrimPrefix(c.URL, "http://") }

// layersOf are the layers of one of the project's images that were fetched, and
// how many it has.
func (c *counter) layersOf(t *testing.T, e env, name string) (fetched, all int) {
	t.Helper()
	out := ok(t, "skopeo", "--override-arch", "amd64", "--override-os", "linux", "inspect", "--tls-verify=false", "docker://"+e.registry+"/lkx-os/"+name+":0.1")
	var image struct{ Layers []string }
	if err := json.Unmarshal([]byte(out), &image); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range image.Layers {
		if c.blobs[l] {
			fetched++
		}
	}
	return fetched, len(image.Layers)
}

// freshDaemon starts a buildkitd that has nothing yet, makes it the builder of
// this test, and gives the registry through which it gets images.
func freshDaemon(t *testing.T, e env) *counter {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can start another buildkitd")
	}
	// t.TempDir is too long a name for a socket.
	dir, err := os.MkdirTemp("", "lkx-bk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c := newCounter(t, e.registry)
	config := fmt.Sprintf("[registry.\"ghcr.io\"]\n  mirrors = [%q]\n[registry.%[1]q]\n  http = true\n", c.addr())
	if err := os.WriteFile(dir+"/buildkitd.toml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	addr := "unix://" + dir + "/sock"
	bin := filepath.Dir(e.lkx)
	cmd := exec.Command(filepath.Join(bin, "buildkitd"), "--root", dir+"/root", "--addr", addr, "--config", dir+"/buildkitd.toml", "--oci-worker-net", "host")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err := run(t, filepath.Join(bin, "buildctl"), "--addr", addr, "debug", "workers"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(dir + "/log")
			t.Fatalf("buildkitd does not answer:\n%s", said)
		}
	}
	t.Setenv("BUILDX_CONFIG", dir+"/buildx")
	t.Setenv("BUILDX_BUILDER", "fresh")
	t.Setenv("BUILDKIT_HOST", addr)
	ok(t, "docker", "buildx", "create", "--name", "fresh", "--driver", "remote", addr)
	return c
}

// minimal is examples/minimal.yml, and the same with another image for its
// service.
func minimal(t *testing.T) (text, changed string) {
	t.Helper()
	data, err := os.ReadFile("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	text = string(data)
	changed = strings.Replace(text, "ghcr.io/lkx-os/hello:0.1", "ghcr.io/lkx-os/busybox:0.1", 1)
	if changed == text {
		t.Fatal("examples/minimal.yml has no hello")
	}
	return text, changed
}

// solve runs a build and sorts its vertices, by name, into those that came from
// a cache and those that were made.
func solve(t *testing.T, manifest string, args ...string) (hits, made []string) {
	t.Helper()
	args = append([]string{"buildx", "build", "--progress=rawjson", "-f", manifest, filepath.Dir(manifest)}, args...)
	cached := map[string]bool{} // by name
	for line := range strings.Lines(ok(t, "docker", args...)) {
		var status struct {
			Vertexes []struct {
				Name   string
				Cached bool
			}
		}
		if json.Unmarshal([]byte(line), &status) != nil {
			continue // a warning for people
		}
		// A vertex is told of several times: also when what came from a cache is
		// fetched, and then not as cached.
		for _, v := range status.Vertexes {
			cached[v.Name] = cached[v.Name] || v.Cached
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cached)) {
		if cached[name] {
			hits = append(hits, name)
		} else {
			made = append(made, name)
		}
	}
	return hits, made
}

// work is what of these vertices makes something. BuildKit runs all others each
// time, or gives them no word of their own in the cache: they fetch and tell.
func work(names []string) []string {
	fetching := regexp.MustCompile(`^(\[internal\]|resolve |image |exporting |importing |docker-image:|\[auth\])`)
	return slices.DeleteFunc(slices.Clone(names), fetching.MatchString)
}

// TestCacheRoundTrip exports the cache of a build, and gives it to a daemon that
// has nothing else. That makes the segment of the changed service, and no other,
// and fetches no image but those that it needs for this.
func TestCacheRoundTrip(t *testing.T) {
	e := setup(t)
	text, changed := minimal(t)
	want := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", t.TempDir(), "--mirror", "ghcr.io="+e.registry, "-o", want, write(t, "os.yml", changed))
	dir := t.TempDir()
	for kind, where := range map[string]struct{ to, from string }{
		"local":    {"type=local,mode=max,dest=" + dir, "type=local,src=" + dir},
		"registry": {"type=registry,mode=max,ref=" + e.registry + "/lkx-os/build-cache:e2e", "type=registry,ref=%s/lkx-os/build-cache:e2e"},
	} {
		t.Run(kind, func(t *testing.T) {
			ok(t, "docker", buildx(write(t, "os.yml", text), "--cache-to", where.to, "--output", "type=cacheonly")...)
			c := freshDaemon(t, e)
			got := t.TempDir()
			hits, made := solve(t, write(t, "os.yml", changed), "--cache-from", strings.ReplaceAll(where.from, "%s", c.addr()), "--output", "type=local,dest="+got)
			if d := cmp.Diff([]string{"make os: kernel+initrd", "segment services/hello"}, work(made)); d != "" {
				t.Errorf("made anew:\n%s", d)
			}
			if n := len(work(hits)); n < 5 {
				t.Errorf("cached: %q", hits)
			}
			if d := cmp.Diff(sums(t, want), sums(t, got)); d != "" {
				t.Errorf("the bytes differ from those of lkx build:\n%s", d)
			}
			for _, name := range []string{"init", "runc", "containerd", "hello"} {
				if fetched, all := c.layersOf(t, e, name); fetched > 0 || all == 0 {
					t.Errorf("%d of %d layers of image %s were fetched", fetched, all, name)
				}
			}
			if fetched, _ := c.layersOf(t, e, "busybox"); fetched == 0 {
				t.Error("nothing of the new image was fetched: nothing counts")
			}
		})
	}
}

// TestSmallestCache exports the artifacts alone. That is enough for a build in
// which nothing changes, which fetches no image at all. Whether there are
// segments in it depends on what the daemon exported before, and is not tested.
func TestSmallestCache(t *testing.T) {
	e := setup(t)
	text, _ := minimal(t)
	dir := t.TempDir()
	ok(t, "docker", buildx(write(t, "os.yml", text), "--cache-to", "type=local,mode=min,dest="+dir, "--output", "type=cacheonly")...)
	c := freshDaemon(t, e)
	hits, made := solve(t, write(t, "os.yml", text), "--cache-from", "type=local,src="+dir, "--output", "type=local,dest="+t.TempDir())
	if len(work(made)) > 0 || !slices.Contains(hits, "make os: kernel+initrd") {
		t.Errorf("made anew: %q; cached: %q", made, hits)
	}
	for _, name := range []string{"kernel", "init", "containerd", "hello"} {
		if fetched, all := c.layersOf(t, e, name); fetched > 0 || all == 0 {
			t.Errorf("%d of %d layers of image %s were fetched", fetched, all, name)
		}
	}
}
