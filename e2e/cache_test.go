package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPruneAmongBuilds builds in a loop while the store is pruned in a loop:
// every build gets the right bytes.
func TestPruneAmongBuilds(t *testing.T) {
	e := setup(t)
	store, manifest := t.TempDir(), write(t, "os.yml", small)
	build := func(store, out string) ([]byte, error) {
		return exec.CommandContext(t.Context(), e.lkx, "build", "--progress", "quiet", "-f", "tar", "--store", store,
			"--mirror", "ghcr.io="+e.registry, "-o", out, manifest).CombinedOutput()
	}
	first := t.TempDir()
	if out, err := build(t.TempDir(), first); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := sums(t, first)
	var builds, pruning sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		builds.Go(func() {
			for range 5 {
				dir := t.TempDir()
				if out, err := build(store, dir); err != nil {
					t.Errorf("%v\n%s", err, out)
					return
				}
				if d := cmp.Diff(want, sums(t, dir)); d != "" {
					t.Errorf("the bytes differ:\n%s", d)
				}
			}
		})
	}
	pruned := 0
	pruning.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if out, err := exec.CommandContext(t.Context(), e.lkx, "cache", "prune", "--all", "--store", store).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
				return
			}
			pruned++
		}
	})
	builds.Wait()
	close(done)
	pruning.Wait()
	if pruned < 2 {
		t.Errorf("pruned %d times", pruned)
	}
	contains(t, ok(t, e.lkx, "cache", "verify", "--progress", "quiet", "--store", store), ": 0 wrong")
}

// TestOffline takes the images of a build to a machine without a registry, and
// builds the same there.
func TestOffline(t *testing.T) {
	e := setup(t)
	here, there := t.TempDir(), t.TempDir()
	dir := t.TempDir()
	manifest, archive := write(t, "os.yml", small), filepath.Join(dir, "images.tar")
	ok(t, e.lkx, "build", "--progress", "quiet", "-f", "tar", "--store", here, "--mirror", "ghcr.io="+e.registry, "-o", dir+"/here", manifest)
	contains(t, ok(t, e.lkx, "cache", "ls", "--store", here), "ghcr.io/lkx-os/busybox:0.1 ", "ghcr.io/lkx-os/hello:0.1 ")
	ok(t, e.lkx, "cache", "export", "--progress", "quiet", "--store", here, "-o", archive, "ghcr.io/lkx-os/busybox:0.1", "ghcr.io/lkx-os/hello:0.1")
	contains(t, ok(t, e.lkx, "cache", "import", "--progress", "quiet", "--store", there, archive), "imported ghcr.io/lkx-os/hello:0.1 ")
	ok(t, e.lkx, "build", "--offline", "--progress", "quiet", "-f", "tar", "--store", there, "-o", dir+"/there", manifest)
	if d := cmp.Diff(sums(t, dir+"/here"), sums(t, dir+"/there")); d != "" {
		t.Errorf("the bytes differ:\n%s", d)
	}
	contains(t, ok(t, "skopeo", "--override-arch", "amd64", "--override-os", "linux", "inspect", "oci-archive:"+archive+":ghcr.io/lkx-os/hello:0.1"), `"Architecture": "amd64"`)
}

// TestSegmentsOutliveLayers removes images from the store and builds again with
// another command line: what was made of the images is enough.
func TestSegmentsOutliveLayers(t *testing.T) {
	e := setup(t)
	text, _ := minimal(t)
	store, c := t.TempDir(), newCounter(t, e.registry)
	build := func(text string) {
		ok(t, e.lkx, "build", "--progress", "quiet", "--store", store, "--mirror", "ghcr.io="+c.URL, "-o", t.TempDir(), write(t, "os.yml", text))
	}
	build(text)
	names := []string{"init", "runc", "containerd", "hello"}
	for _, name := range names {
		if fetched, all := c.layersOf(t, e, name); fetched < all || all == 0 {
			t.Errorf("%d of %d layers of image %s were fetched", fetched, all, name)
		}
		ok(t, e.lkx, "cache", "rm", "--store", store, "ghcr.io/lkx-os/"+name+":0.1")
	}
	clear(c.blobs)
	build(strings.Replace(text, "quiet", "quiet lkx.x=1", 1))
	for _, name := range names {
		if fetched, _ := c.layersOf(t, e, name); fetched > 0 {
			t.Errorf("%d layers of image %s were fetched again", fetched, name)
		}
	}
}
