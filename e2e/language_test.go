package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// languageManifest uses what a manifest can say beyond images and texts.
const languageManifest = `# syntax=ghcr.io/lkx-os/lkx:0.1
include: [parts/base.yml]
args:
  GREETING: # what the system says
  NAME: world
volumes:
  - name: blank
  - name: files
    image: ghcr.io/lkx-os/busybox:0.1
    readonly: true
  - name: layout
    image: OPEN/hello:0.1
    format: oci
services:
  - name: hello
    override: merge
    binds.add: ["blank:/blank", "files:/files:ro", "layout:/layout"]
arch:
  arm64: {services: [{name: arm, image: "ghcr.io/lkx-os/none:1"}]}
files:
  - {path: etc/motd, contents: "${GREETING} ${NAME} ${TARGETARCH}\n"}
  - {path: opt/app, source: app, uid: hello}
  - {path: opt/fetched, source: "URL", checksum: "SUM", mode: "0755"}
`

// languageFiles writes the manifest with all that it names.
func languageFiles(t *testing.T, open, url string, sum digest.Digest) string {
	t.Helper()
	text := strings.NewReplacer("OPEN", open, "URL", url, "SUM", sum.String()).Replace(languageManifest)
	manifest := write(t, "os.yml", text)
	dir := filepath.Dir(manifest)
	for name, text := range map[string]string{
		"parts/base.yml":  "services: [{name: hello, image: \"ghcr.io/lkx-os/hello:0.1\", binds.add: [\"/a:/b\"]}]\nfiles: [{path: etc/base, source: base.txt}]\n",
		"parts/base.txt":  "base\n",
		"app/bin/run":     "#!/bin/true\n",
		"app/.dotfile":    "dot\n",
		"app/deep/er/x":   "",
		".dockerignore":   "*\n",
		"never/mentioned": "x\n",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Chmod(filepath.Join(dir, "app/bin/run"), 0o755),
		os.Mkdir(filepath.Join(dir, "app/empty"), 0o750),
		os.Symlink("bin/run", filepath.Join(dir, "app/current")),
	); err != nil {
		t.Fatal(err)
	}
	return manifest
}

// TestLanguage builds one manifest that uses everything on every road: equal
// bytes, and in them what was asked for.
func TestLanguage(t *testing.T) {
	e := setup(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fetched\n") }))
	defer server.Close()
	manifest := languageFiles(t, openRegistry(t, e), server.URL+"/tool", digest.FromString("fetched\n"))
	out := t.TempDir()
	local := []string{"build", "--progress", "quiet", "-f", "tar", "--store", filepath.Join(out, "store"), "--mirror", "ghcr.io=" + e.registry, "--arg", "GREETING=hi", "--arg", "NAME=you", "--name", "os"}
	ok(t, e.lkx, append(local, "-o", filepath.Join(out, "local"), manifest)...)
	ok(t, e.lkx, append(local, "-o", filepath.Join(out, "again"), manifest)...)
	ok(t, e.lkx, "build", "--progress", "quiet", "-f", "tar", "--builder", os.Getenv("BUILDKIT_HOST"), "--arg", "GREETING=hi", "--arg", "NAME=you", "-o", filepath.Join(out, "builder"), manifest)
	ok(t, "docker", buildx(manifest, "--target", "tar", "--build-arg", "GREETING=hi", "--build-arg", "NAME=you", "--output", "type=local,dest="+filepath.Join(out, "buildx"))...)
	want := sums(t, filepath.Join(out, "local"))
	for _, road := range []string{"again", "builder", "buildx"} {
		if d := cmp.Diff(want, sums(t, filepath.Join(out, road))); d != "" {
			t.Errorf("%s gives other bytes:\n%s", road, d)
		}
	}
	file := filepath.Join(out, "local", "os.tar")
	lines := strings.Split(listing(t, file), "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	all := strings.Join(lines, "\n")
	contains(t, all,
		"-rwxr-xr-x 100/0 12 1970-01-01 00:00 opt/app/bin/run", "opt/app/.dotfile", "opt/app/deep/er/x", "opt/app/current -> bin/run",
		"drwxr-x--- 100/0 0 1970-01-01 00:00 opt/app/empty/", "-rwxr-xr-x 0/0 8 1970-01-01 00:00 opt/fetched",
		"containers/volumes/blank/tmp/", "containers/volumes/files/lower/bin/busybox", "containers/volumes/layout/lower/index.json", "etc/base",
	)
	if strings.Contains(all, "containers/volumes/files/tmp") {
		t.Error("the read-only volume has a place to write")
	}
	if got := ok(t, "tar", "--warning=no-unknown-keyword", "-xOf", file, "etc/motd"); !strings.HasPrefix(got, "hi you ") {
		t.Errorf("the variables became %q", got)
	}
	checkVolumeLayout(t, file)
	checkOrigins(t, file)
}

// checkVolumeLayout asks skopeo to read the image in the volume.
func checkVolumeLayout(t *testing.T, file string) {
	t.Helper()
	dir := t.TempDir()
	ok(t, "tar", "--warning=no-unknown-keyword", "-C", dir, "-xf", file, "containers/volumes/layout/lower")
	ok(t, "skopeo", "copy", "oci:"+filepath.Join(dir, "containers/volumes/layout/lower")+":0.1", "oci:"+filepath.Join(dir, "copy"))
}

// checkOrigins looks for LinuxKit's provenance records (its 001_tarheaders test).
func checkOrigins(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]string{
		"containers/services/hello/config.json": "ghcr.io/lkx-os/hello:0.1 services[0]",
		"containers/volumes/files/lower/bin/":   "ghcr.io/lkx-os/busybox:0.1 volume[1]",
		"containers/volumes/blank/merged/":      "linuxkit.volumes volume[0]",
		"etc/motd":                              "linuxkit.files files[1]",
		"opt/app/bin/run":                       "linuxkit.files files[2]",
		"containers/services/hello/lower/hello": "ghcr.io/lkx-os/hello:0.1 services[0]",
	}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got := h.PAXRecords["LINUXKIT.source"] + " " + h.PAXRecords["LINUXKIT.location"]
		if got == " " {
			t.Errorf("%s does not say where it is from", h.Name)
		}
		if w := want[h.Name]; w != "" && w != got {
			t.Errorf("%s is from %s, want %s", h.Name, got, w)
		}
		delete(want, h.Name)
	}
	for name := range want {
		t.Errorf("there is no %s", name)
	}
}

// openRegistry is a registry that gives manifests to whoever asks, as BuildKit
// needs for volumes of format oci; "distribution" gives them only to those who
// say that they know what they are. It has the image hello.
func openRegistry(t *testing.T, e env) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
	l.Close()
	crane := filepath.Join(filepath.Dir(e.lkx), "crane")
	cmd := exec.CommandContext(t.Context(), crane, "registry", "serve", "--address", addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 50 {
		if _, err = run(t, crane, "copy", "--insecure", e.registry+"/lkx-os/hello:0.1", addr+"/hello:0.1"); err == nil {
			return addr
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
	return ""
}

// TestLanguageErrors makes mistakes that only a build finds, on both roads.
func TestLanguageErrors(t *testing.T) {
	e := setup(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/there" {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		text        string
		local, both []string
	}{
		"wrong checksum": {
			"files: [{path: a, source: \"" + server.URL + "/there\", checksum: \"sha256:" + strings.Repeat("0", 64) + "\"}]",
			[]string{"os.yml:2:27: files[0]: "},
			nil,
		},
		"no such page": {
			"files: [{path: a, source: \"" + server.URL + "/nowhere\", checksum: \"sha256:" + strings.Repeat("0", 64) + "\"}]",
			[]string{"os.yml:2:27: files[0]: ", "the server answers 404"},
			[]string{"os.yml:2"},
		},
		"missing include": {"include: [none.yml]", nil, []string{"os.yml:2:11: include[0]: there is no file ", "none.yml"}},
		"missing argument": {
			"args:\n  WHAT:\nfiles: [{path: \"${WHAT}\", contents: \"\"}]", nil,
			[]string{"os.yml:3:3: args: argument WHAT has no default, and was not given"},
		},
		"no such platform": {
			"volumes: [{name: v, image: \"" + openRegistry(t, e) + "/hello:0.1\", format: oci, platforms: [linux/s390x]}]", nil,
			[]string{":2:28: volumes[0].image: the image has nothing for linux/s390x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := write(t, "os.yml", "# syntax=ghcr.io/lkx-os/lkx:0.1\n"+c.text+"\n")
			out := filepath.Join(t.TempDir(), "out")
			contains(t, fails(t, e.lkx, "build", "--progress", "quiet", "-f", "tar", "--store", t.TempDir(), "--mirror", "ghcr.io="+e.registry, "-o", out, manifest), append(c.local, c.both...)...)
			contains(t, fails(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=local,dest="+out)...), c.both...)
			empty(t, out)
		})
	}
}

// TestOutline asks for the arguments of a manifest.
func TestOutline(t *testing.T) {
	setup(t)
	manifest := languageFiles(t, "localhost:1", "http://localhost:1/x", digest.FromString("x"))
	contains(t, ok(t, "docker", buildx(manifest, "--call=outline")...), "GREETING", "what the system says (must be given)", "NAME", "world")
	var out struct {
		Args []struct{ Name, Value string }
	}
	text := ok(t, "docker", "buildx", "build", "--progress=quiet", "-f", manifest, "--call=outline,format=json", filepath.Dir(manifest))
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &out); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
}
