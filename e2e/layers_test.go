package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// blob adds a blob to an OCI layout, and returns its descriptor.
func blob(t *testing.T, layout, mediaType string, data []byte) map[string]any {
	t.Helper()
	sum := sha256.Sum256(data)
	id := hex.EncodeToString(sum[:])
	dir := filepath.Join(layout, "blobs/sha256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, id), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + id, "size": len(data)}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// imageLayout makes an OCI layout with one image, named ref and tagged "it".
func imageLayout(t *testing.T, ref string, layers ...[]tar.Header) string {
	t.Helper()
	dir := t.TempDir()
	var ids []string
	var descs []any
	for _, entries := range layers {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range entries {
			contents := h.Uname // these layers name no users
			h.Uname, h.Size = "", int64(len(contents))
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(contents)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		d := blob(t, dir, "application/vnd.oci.image.layer.v1.tar", buf.Bytes())
		ids, descs = append(ids, d["digest"].(string)), append(descs, d)
	}
	config := blob(t, dir, "application/vnd.oci.image.config.v1+json", asJSON(t, map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/x"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}))
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest := blob(t, dir, manifestType, asJSON(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": descs,
	}))
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "it", "io.containerd.image.name": ref}
	index := asJSON(t, map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	for name, text := range map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	reg  = tar.TypeReg
	dirT = tar.TypeDir
	link = tar.TypeLink
)

// capability is security.capability of version 2 with CAP_CHOWN permitted and
// effective (linux/capability.h).
const capability = "\x01\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// TestHardLayers builds an image with everything that is easily got wrong on
// both roads: BuildKit's snapshots and our own flattening agree.
func TestHardLayers(t *testing.T) {
	e := setup(t)
	xattrs := map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "kept"}
	layout := imageLayout(t, "nowhere.example/hard:1",
		[]tar.Header{
			{Name: "bin/", Typeflag: dirT, Mode: 0o750, Uid: 3, Gid: 4},
			{Name: "bin/x", Typeflag: reg, Mode: 0o4755, Uname: "program", Uid: 70000, PAXRecords: xattrs, Format: tar.FormatPAX},
			{Name: "bin/y", Typeflag: link, Linkname: "bin/x", Mode: 0o4755},
			{Name: "gone/a", Typeflag: reg, Mode: 0o644, Uname: "1"},
			{Name: "opaque/", Typeflag: dirT, Mode: 0o755},
			{Name: "opaque/old", Typeflag: reg, Mode: 0o644, Uname: "1"},
			{Name: "opaque/sub/", Typeflag: dirT, Mode: 0o755},
			{Name: "opaque/sub/old", Typeflag: reg, Mode: 0o644, Uname: "1"},
			{Name: "etc/", Typeflag: dirT, Mode: 0o700, Uid: 9},
			{Name: "bin/capable", Typeflag: reg, Mode: 0o755, Uname: "c", PAXRecords: xattrs, Format: tar.FormatPAX},
			{Name: "etc/hostname", Typeflag: reg, Mode: 0o644, Uname: "dropped"},
			{Name: "implied/deep/f", Typeflag: reg, Mode: 0o600, Uname: "f"},
			{Name: "to", Typeflag: tar.TypeSymlink, Linkname: "implied/deep", Mode: 0o777},
			{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666},
			{Name: "was-a-file", Typeflag: reg, Mode: 0o644, Uname: "1"},
			{Name: "was-a-dir/", Typeflag: dirT, Mode: 0o755},
			{Name: "was-a-dir/f", Typeflag: reg, Mode: 0o644, Uname: "1"},
		},
		[]tar.Header{
			{Name: ".wh.gone", Typeflag: reg, Mode: 0o644},
			{Name: "opaque/", Typeflag: dirT, Mode: 0o711},
			{Name: "opaque/.wh..wh..opq", Typeflag: reg, Mode: 0o644},
			{Name: "opaque/new", Typeflag: reg, Mode: 0o644, Uname: "2"},
			{Name: "etc/passwd", Typeflag: reg, Mode: 0o644, Uname: "root"},
			{Name: "was-a-file/", Typeflag: dirT, Mode: 0o755},
			{Name: "was-a-file/f", Typeflag: reg, Mode: 0o644, Uname: "2"},
			{Name: ".wh.was-a-dir", Typeflag: reg, Mode: 0o644},
		},
		[]tar.Header{
			{Name: "was-a-dir", Typeflag: reg, Mode: 0o644, Uname: "3"},
			{Name: "bin/z", Typeflag: reg, Mode: 0o755, Uname: "new"},
			{Name: "bin/zz", Typeflag: link, Linkname: "bin/z", Mode: 0o755},
		})
	manifest := write(t, "os.yml", `# syntax=ghcr.io/lkx-os/lkx:0.1
init: ["nowhere.example/hard:1"]
services:
  - {name: rw, image: "nowhere.example/hard:1"}
`)
	local, daemon := t.TempDir(), t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "-f", "tar", "--store", t.TempDir(), "--layout", layout, "-o", local, manifest)
	ok(t, "docker", buildx(manifest, "--target", "tar", "--output", "type=local,dest="+daemon,
		"--build-context", "nowhere.example/hard:1=oci-layout://"+layout+":it")...)
	list := func(dir string) []string {
		return strings.Split(ok(t, "tar", "--warning=no-unknown-keyword", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-tvvf", filepath.Join(dir, "os.tar")), "\n")
	}
	if d := cmp.Diff(list(local), list(daemon)); d != "" {
		t.Errorf("the roads differ:\n%s", d)
	}
	if d := cmp.Diff(sums(t, local), sums(t, daemon)); d != "" {
		t.Errorf("the bytes differ:\n%s", d)
	}
	all := strings.Join(list(local), "\n")
	contains(t, all, "drwxr-x---  3/4", "drwx------  9/0", "x: 20 security.capability", "drwx--x--x  0/0               0 1970-01-01 00:00 opaque/", "x: 4 user.note", "link to bin/x")
	for _, gone := range []string{"gone", "opaque/old", "opaque/sub", "hostname", "was-a-dir/"} {
		if strings.Contains(all, " "+gone) {
			t.Errorf("%s is still there", gone)
		}
	}
}

// TestCapabilities boots a system with a file that has capabilities, which an
// initrd cannot hold: they have come with it all the same.
func TestCapabilities(t *testing.T) {
	e := setup(t)
	entry := tar.Header{Typeflag: reg, Mode: 0o755, Uname: program(t, e, "busybox", "bin/busybox")}
	plain, capable := entry, entry
	plain.Name, capable.Name = "plain/busybox", "capable/busybox"
	capable.Format, capable.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr.security.capability": capability}
	layout := imageLayout(t, "nowhere.example/capable:1", []tar.Header{plain, capable})
	out := t.TempDir()
	manifest := write(t, "caps.yml", fmt.Sprintf(bootHead, "lkx.onboot=poweroff")+`
onboot:
  - name: caps
    image: nowhere.example/capable:1
    uid: 1000
    capabilities: [CAP_CHOWN, CAP_KILL]
    command: [/plain/busybox, sh, -c, "/plain/busybox grep CapEff /proc/self/status; /capable/busybox grep CapEff /proc/self/status; exit 1"]
`)
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", t.TempDir(), "--layout", e.images, "--layout", layout, "-o", out, manifest)
	console := guest(t, e, filepath.Join(out, "caps"))
	contains(t, console, "[000-caps] CapEff:\t0000000000000000", "[000-caps] CapEff:\t0000000000000001")
}
