package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is a manifest without a kernel: quick to build.
const small = `# syntax=ghcr.io/lkx-os/lkx:0.1
init:
  - ghcr.io/lkx-os/busybox:0.1
services:
  - name: hello
    image: ghcr.io/lkx-os/hello:0.1
files:
  - path: etc/motd
    contents: "hi\n"
`

// TestErrors makes every mistake on both roads: one clear error that points at
// its line, and no file.
func TestErrors(t *testing.T) {
	e := setup(t)
	for name, c := range map[string]struct {
		from, to string
		want     []string // on both roads
		local    string   // on ours alone
	}{
		"unknown key": {
			"name: hello", "nme: hello",
			[]string{`os.yml:5:5: services[0]: unknown key "nme"`, "    5 |   - nme: hello\n      |     ^^^\n", `did you mean "name"?`},
			"",
		},
		"wrong type": {"  - ghcr.io/lkx-os/busybox:0.1", "  wrong: type", []string{"init: expected a list, found a mapping"}, ""},
		"missing image": {
			"lkx-os/hello:0.1", "lkx-os/nothing:0.1",
			[]string{"services[0].image: ", "not found", "6 |     image: ghcr.io/lkx-os/nothing:0.1"},
			"",
		},
		"bad digest": {
			"hello:0.1", "hello@sha256:" + strings.Repeat("0", 64),
			[]string{"services[0].image: ", "not found"},
			"",
		},
		"unreachable registry": {
			"ghcr.io/lkx-os/hello:0.1", "localhost:1/hello:1",
			[]string{"services[0].image: ", "connection refused"},
			"services[0].image: localhost:1/hello:1: connecting to localhost:1: connection refused",
		},
		"no command": {
			"ghcr.io/lkx-os/hello:0.1", "ghcr.io/lkx-os/kernel:0.1",
			[]string{"services[0].command: the image names no command", "add \"command: "},
			"",
		},
		"missing source": {
			`contents: "hi\n"`, "source: none.txt",
			[]string{`files[0].source: there is no file "none.txt"`},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(small, c.from, c.to, 1)
			if text == small {
				t.Fatalf("no %q in the manifest", c.from)
			}
			manifest := write(t, "os.yml", text)
			out := filepath.Join(t.TempDir(), "out")
			local := fails(t, e.lkx, "build", "--progress", "quiet", "-f", "tar", "--store", t.TempDir(), "--mirror", "ghcr.io="+e.registry, "-o", out, manifest)
			contains(t, local, append(c.want, c.local)...)
			if strings.Count(local, "os.yml:")-strings.Count(local, ": warning: ") != 1 {
				t.Errorf("not one error:\n%s", local)
			}
			empty(t, out)
			contains(t, fails(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=local,dest="+out)...), c.want...)
			empty(t, out)
		})
	}
	t.Run("unwritable output", func(t *testing.T) {
		manifest := write(t, "os.yml", small)
		got := fails(t, e.lkx, "build", "--progress", "quiet", "-f", "tar", "--store", t.TempDir(), "--layout", e.images, "-o", "/proc/out", manifest)
		contains(t, got, "lkx: making the output directory: mkdir /proc/out: no such file or directory")
	})
	t.Run("frontend options", func(t *testing.T) {
		manifest := write(t, "os.yml", small)
		for arg, want := range map[string]string{
			"--target=qcow3":             `unknown format "qcow3"`,
			"--target=kernel+initrd":     "needs a kernel, and the manifest has none",
			"--build-arg=FORMT=tar":      `hint: did you mean "FORMAT"?`,
			"--build-arg=COMPRESSION=xy": `unknown compression "xy"`,
			"--build-arg=NAME=a/b":       "cannot be the base name",
		} {
			contains(t, fails(t, "docker", buildx(manifest, arg, "--output", "type=cacheonly")...), want)
		}
	})
}

// TestCalls asks for what buildx can ask besides a build.
func TestCalls(t *testing.T) {
	setup(t)
	good := write(t, "os.yml", small)
	contains(t, ok(t, "docker", buildx(good, "--call=targets")...), "kernel+initrd (default)", "tar", "rootfs")
	contains(t, ok(t, "docker", buildx(good, "--call=outline")...), "FORMAT", "kernel+initrd", "COMPRESSION", "os")
	clean := write(t, "os.yml", "# syntax=ghcr.io/lkx-os/lkx:0.1\nfiles: [{path: a, contents: b}]\n")
	contains(t, ok(t, "docker", buildx(clean, "--check")...), "no warnings found")
	bad := write(t, "os.yml", strings.Replace(small, "name: hello", "nme: hello", 1))
	contains(t, fails(t, "docker", buildx(bad, "--check")...), `unknown key "nme"`, "os.yml:5")
	latest := write(t, "os.yml", strings.Replace(small, "hello:0.1", "hello:latest", 1))
	contains(t, fails(t, "docker", buildx(latest, "--check")...), "whatever was pushed last", "os.yml:6")
}

// listing is what a tar archive holds.
func listing(t *testing.T, file string) string {
	t.Helper()
	return ok(t, "tar", "--warning=no-unknown-keyword", "--numeric-owner", "-tvf", file)
}

// TestRootFS gets the root file system itself, merged and made in one, as a tar
// archive and as an image; all hold what format tar holds.
func TestRootFS(t *testing.T) {
	setup(t)
	manifest := write(t, "os.yml", small)
	out := t.TempDir()
	ok(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=local,dest="+out)...)
	want := strings.Split(listing(t, filepath.Join(out, "os.tar")), "\n")
	merged, single := filepath.Join(out, "merged.tar"), filepath.Join(out, "single.tar")
	ok(t, "docker", buildx(manifest, "--target", "rootfs", "--output", "type=tar,dest="+merged)...)
	ok(t, "docker", buildx(manifest, "--target", "rootfs", "--build-arg", "LKX_NO_MERGE=1", "--output", "type=tar,dest="+single)...)
	for _, file := range []string{merged, single} {
		got := strings.Split(listing(t, file), "\n")
		if d := cmp.Diff(sorted(want), sorted(got)); d != "" {
			t.Errorf("%s differs from format tar:\n%s", filepath.Base(file), d)
		}
	}
	layout := filepath.Join(out, "oci")
	ok(t, "docker", buildx(manifest, "--target", "rootfs", "--label", "x.y=z", "--output", "type=oci,tar=false,dest="+layout)...)
	var config struct {
		Config struct {
			Labels     map[string]string
			Entrypoint []string
		} `json:"config"`
		Architecture string
	}
	if err := json.Unmarshal([]byte(ok(t, "skopeo", "inspect", "--config", "oci:"+layout)), &config); err != nil {
		t.Fatal(err)
	}
	if config.Config.Labels["x.y"] != "z" || len(config.Config.Entrypoint) != 1 || config.Architecture == "" {
		t.Errorf("the image's config is %+v", config)
	}
}

// sorted is lines with the columns that can differ between writers of tar left
// out: their order, and how sizes are aligned.
func sorted(lines []string) map[string]bool {
	out := map[string]bool{}
	for _, l := range lines {
		out[strings.Join(strings.Fields(l), " ")] = true
	}
	return out
}

// TestNamedContext replaces an image by one in a layout.
func TestNamedContext(t *testing.T) {
	e := setup(t)
	manifest := write(t, "os.yml", strings.ReplaceAll(small, "ghcr.io/lkx-os/hello:0.1", "nowhere.example/hello:9"))
	fails(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=cacheonly")...)
	replaced, plain := t.TempDir(), t.TempDir()
	ok(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=local,dest="+replaced,
		"--build-context", "nowhere.example/hello:9=oci-layout://"+e.images+":hello")...)
	ok(t, "docker", buildx(write(t, "os.yml", small), "--target", "tar", "--output", "type=local,dest="+plain)...)
	// The bytes differ by the image's name, which every entry has with it.
	if d := cmp.Diff(listing(t, filepath.Join(plain, "os.tar")), listing(t, filepath.Join(replaced, "os.tar"))); d != "" {
		t.Errorf("the replaced image gives other files:\n%s", d)
	}
}

// TestSourcePolicy denies an image, and converts a tag to another.
func TestSourcePolicy(t *testing.T) {
	setup(t)
	manifest := write(t, "os.yml", small)
	policy := write(t, "policy.json", `{"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://ghcr.io/lkx-os/hello*"}}]}`)
	t.Setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", policy)
	contains(t, fails(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=cacheonly")...), "services[0].image", "denied")
	convert := `{"rules": [{"action": "CONVERT", "selector": {"identifier": "docker-image://nowhere.example/hello:9"},
		"updates": {"identifier": "docker-image://ghcr.io/lkx-os/hello:0.1"}}]}`
	if err := os.WriteFile(policy, []byte(convert), 0o644); err != nil {
		t.Fatal(err)
	}
	moved := write(t, "os.yml", strings.ReplaceAll(small, "ghcr.io/lkx-os/hello:0.1", "nowhere.example/hello:9"))
	ok(t, "docker", buildx(moved, "--target", "tar", "--output", "type=cacheonly")...)
}

// TestRelabelledFrontend builds with a frontend image of other labels: it is
// the program that counts, so everything is cached, whatever is built.
func TestRelabelledFrontend(t *testing.T) {
	e := setup(t)
	ctx := t.TempDir()
	dockerfile := "FROM ghcr.io/lkx-os/lkx:0.1\nLABEL some.other=label\n"
	if err := os.WriteFile(filepath.Join(ctx, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	ref := e.registry + "/lkx-os/relabelled:1"
	ok(t, "docker", "buildx", "build", "--output", "type=image,push=true,name="+ref, ctx)
	text, _ := minimal(t)
	relabelled := strings.Replace(text, "ghcr.io/lkx-os/lkx:0.1", ref, 1)
	for _, args := range [][]string{
		{"--target", "kernel+initrd"},
		{"--build-arg", "FORMAT=kernel+squashfs,tar"},
		{"--target", "rootfs"},
		{"--target", "rootfs", "--build-arg", "LKX_NO_MERGE=1"},
	} {
		args = append(args, "--output", "type=cacheonly")
		solve(t, write(t, "os.yml", text), args...)
		if hits, made := solve(t, write(t, "os.yml", relabelled), args...); len(work(made)) > 0 || len(work(hits)) == 0 {
			t.Errorf("%q: made anew: %q; cached: %q", args, made, hits)
		}
	}
}
