package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// roadsManifest has something of everything that is placed.
const roadsManifest = `# syntax=ghcr.io/lkx-os/lkx:0.1
kernel:
  image: ghcr.io/lkx-os/kernel:0.1
  cmdline: console=ttyS0
init:
  - ghcr.io/lkx-os/init:0.1
  - ghcr.io/lkx-os/busybox:0.1
onboot:
  - name: one
    image: ghcr.io/lkx-os/busybox:0.1
    command: ["true"]
services:
  - name: hello
    image: ghcr.io/lkx-os/hello:0.1
    readonly: true
  - name: again
    image: ghcr.io/lkx-os/hello:0.1
    uid: hello
files:
  - path: etc/motd
    contents: "hi\n"
    mode: "0644"
    uid: hello
  - path: opt/own/data
    source: data.txt
  - path: etc/none
    source: none.txt
    optional: true
  - path: etc/link
    symlink: motd
  - path: var/lib/x
    directory: true
  - path: etc/lkx.json
    metadata: json
`

// TestBothRoads builds one manifest on every road, twice each, in all formats.
func TestBothRoads(t *testing.T) {
	e := setup(t)
	manifest := write(t, "os.yml", roadsManifest)
	if err := os.WriteFile(filepath.Join(filepath.Dir(manifest), "data.txt"), []byte("data\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	const formats = "kernel+initrd,tar"
	store := t.TempDir()
	roads := []struct {
		name  string
		build func(out string)
	}{
		{"lkx with a layout", func(out string) {
			ok(t, e.lkx, "build", "-f", formats, "--store", store, "--layout", e.images, "-o", out, manifest)
		}},
		{"lkx with a registry", func(out string) {
			ok(t, e.lkx, "build", "-f", formats, "--store", t.TempDir(), "--mirror", "ghcr.io="+e.registry, "-o", out, manifest)
		}},
		{"docker buildx", func(out string) {
			ok(t, "docker", buildx(manifest, "--build-arg", "FORMAT="+formats, "--output", "type=local,dest="+out)...)
		}},
		{"docker buildx without cache", func(out string) {
			ok(t, "docker", buildx(manifest, "--no-cache", "--build-arg", "FORMAT="+formats, "--output", "type=local,dest="+out)...)
		}},
		{"lkx on a BuildKit", func(out string) {
			ok(t, e.lkx, "build", "-f", formats, "--builder", os.Getenv("BUILDKIT_HOST"), "-o", out, manifest)
		}},
		{"lkx on docker's builder", func(out string) {
			ok(t, e.lkx, "build", "-f", formats, "--builder", "docker", "-o", out, manifest)
		}},
	}
	var want map[string]string
	for _, road := range roads {
		for range 2 {
			out := filepath.Join(t.TempDir(), "out")
			road.build(out)
			got := sums(t, out)
			if want == nil {
				want = got
				if len(want) != 4 {
					t.Fatalf("%d files, want kernel, initrd, command line and tar: %v", len(want), want)
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s differs from %s:\n%s", road.name, roads[0].name, d)
			}
		}
	}
}

// TestUnprivileged builds as nobody, with no program to help.
func TestUnprivileged(t *testing.T) {
	e := setup(t)
	if os.Getuid() != 0 {
		t.Skip("only root can become nobody")
	}
	dir, err := os.MkdirTemp("", "lkx-e2e-") // t.TempDir is for its owner alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, args := range [][]string{
		{"cp", e.lkx, "../examples/minimal.yml", dir},
		{"cp", "-r", e.images, dir + "/images"},
		{"chown", "-R", "65534:65534", dir},
	} {
		ok(t, args[0], args[1:]...)
	}
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
		dir+"/lkx", "build", "--store", dir+"/store", "--layout", dir+"/images", "-o", dir+"/out", dir+"/minimal.yml")
	cmd.Env = []string{"PATH="}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = setpriv
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := len(sums(t, dir+"/out")); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
}

var cached = regexp.MustCompile(`(?m)^#(\d+) CACHED$`)

// vertices sorts the named steps of a plain progress into cached and made ones.
func vertices(out string) (hits, made []string) {
	name := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#(\d+) (segment .*|make .*)$`).FindAllStringSubmatch(out, -1) {
		name[m[1]] = m[2]
	}
	done := map[string]bool{}
	for _, m := range cached.FindAllStringSubmatch(out, -1) {
		done[m[1]] = true
	}
	for id, n := range name {
		if done[id] {
			hits = append(hits, n)
		} else {
			made = append(made, n)
		}
	}
	return hits, made
}

// TestOnlyChangedSegment changes one service's image: everything else is cached.
func TestOnlyChangedSegment(t *testing.T) {
	setup(t)
	text, err := os.ReadFile("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	build := func(text string, args ...string) string {
		return ok(t, "docker", buildx(write(t, "os.yml", text), append(args, "--output", "type=cacheonly")...)...)
	}
	build(string(text))
	changed := strings.Replace(string(text), "ghcr.io/lkx-os/hello:0.1", "ghcr.io/lkx-os/busybox:0.1", 1)
	if changed == string(text) {
		t.Fatal("examples/minimal.yml has no hello")
	}
	// A comment, so that the first build of this text is the one that counts.
	check := func(out string, want ...string) {
		t.Helper()
		hits, made := vertices(out)
		if len(made) != len(want) {
			t.Errorf("made anew: %q, want %q; cached: %q", made, want, hits)
		}
		for _, w := range want {
			contains(t, strings.Join(made, "\n"), w)
		}
		if len(hits)+len(made) < 6 {
			t.Errorf("only %d steps found in:\n%s", len(hits)+len(made), out)
		}
	}
	check(build(changed, "--no-cache-filter", "services/hello"), "segment services/hello", "make os")
	check(build(string(text), "--no-cache-filter", "services[0]"), "segment services/hello", "make os")
	check(build(string(text)))
	check(build(strings.Replace(string(text), "quiet", "quiet lkx.x=1", 1), "--no-cache-filter", "artifacts"), "make os")
}

// TestOnlyChangedBlocks makes a squashfs again of which one service changed: what
// else is in it is not compressed again, and the bytes are the right ones.
func TestOnlyChangedBlocks(t *testing.T) {
	e := setup(t)
	text, changed := minimal(t)
	once := fmt.Sprintf("files: [{path: etc/once, contents: %q}]\n", time.Now()) // BuildKit has not made this one
	text, changed = text+once, changed+once
	build := func(manifest string, args ...string) string {
		args = append(args, "--progress", "plain", "--build-arg", "FORMAT=kernel+squashfs")
		return ok(t, "docker", buildx(manifest, args...)...)
	}
	build(write(t, "os.yml", text), "--output", "type=cacheonly")
	there, here := t.TempDir(), t.TempDir()
	manifest := write(t, "os.yml", changed)
	out := build(manifest, "--output", "type=local,dest="+there)
	known, err1 := strconv.Atoi(group(t, out, `(\d+) of \d+ blocks were compressed before`))
	all, err2 := strconv.Atoi(group(t, out, `\d+ of (\d+) blocks were compressed before`))
	if err := errors.Join(err1, err2); err != nil || known < all*9/10 {
		t.Errorf("%d of %d blocks were known, want most (%v)", known, all, err)
	}
	ok(t, e.lkx, "build", "--progress", "quiet", "-f", "kernel+squashfs", "--store", t.TempDir(), "--layout", e.images, "-o", here, manifest)
	if d := cmp.Diff(sums(t, here), sums(t, there)); d != "" {
		t.Errorf("with the known blocks the bytes are others:\n%s", d)
	}
}

// TestOnlyChangedSegmentHere is the same without a daemon, and with a build that is
// killed on the way.
func TestOnlyChangedSegmentHere(t *testing.T) {
	e := setup(t)
	text, err := os.ReadFile("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := func(text string) []string {
		return []string{"build", "--progress", "plain", "--name", "os", "--store", dir + "/store", "--layout", e.images, "-o", dir + "/out", write(t, "os.yml", text)}
	}
	check := func(text string, want ...string) {
		t.Helper()
		out := ok(t, e.lkx, args(text)...)
		hits, made := vertices(out)
		slices.Sort(made)
		if !slices.Equal(made, want) || len(hits)+len(made) < 6 {
			t.Errorf("made anew: %q, want %q; cached: %q", made, want, hits)
		}
	}
	killed := exec.CommandContext(t.Context(), e.lkx, args(string(text))...)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	for segments := []string(nil); segments == nil; { // the first is made, or being made
		time.Sleep(5 * time.Millisecond)
		segments, _ = filepath.Glob(dir + "/store/lkx/derived/segment/*")
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it says that it was killed
	ok(t, e.lkx, args(string(text))...)
	first := sums(t, dir+"/out")
	check(string(text), "make kernel+initrd")
	changed := strings.Replace(string(text), "ghcr.io/lkx-os/hello:0.1", "ghcr.io/lkx-os/busybox:0.1", 1)
	check(changed, "make kernel+initrd", "segment services/hello")
	check(string(text), "make kernel+initrd")
	if again := sums(t, dir+"/out"); len(first) != 3 || !maps.Equal(first, again) {
		t.Errorf("the files are %v, and were %v", again, first)
	}
	if left, _ := filepath.Glob(dir + "/out/.*"); left != nil {
		t.Errorf("left behind: %q", left)
	}
}
