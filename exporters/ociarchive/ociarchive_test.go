package ociarchive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lkx-os/lkx/internal/judge"
)

// layer is a tar archive of one file, made by tar.
func layer(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "motd"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	return []byte(judge.Run(t, "tar", "-C", dir, "-c", "motd"))
}

func TestByJudge(t *testing.T) {
	data := layer(t)
	o := Options{
		Name: "os:latest", Arch: "arm64", Entrypoint: []string{"/init"}, Epoch: 86400,
		Layer: digest.FromBytes(data), Size: int64(len(data)),
	}
	var image, again bytes.Buffer
	for _, w := range []*bytes.Buffer{&image, &again} {
		if err := Write(w, bytes.NewReader(data), o); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(image.Bytes(), again.Bytes()) {
		t.Error("a second image has other bytes")
	}
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, image.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"oci-archive:", "docker-archive:"} {
		text := judge.Run(t, "skopeo", "inspect", "--config", transport+name)
		for _, want := range []string{`"architecture": "arm64"`, `"created": "1970-01-02T00:00:00Z"`, `"/init"`, o.Layer.String()} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s:\n%s", transport, want, text)
			}
		}
		out := filepath.Join(t.TempDir(), "out")
		judge.Run(t, "skopeo", "copy", transport+name, "dir:"+out)
		if got, err := os.ReadFile(filepath.Join(out, o.Layer.Encoded())); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: another layer comes out: %v", transport, err)
		}
	}
	o.Size++
	if err := Write(&again, bytes.NewReader(data), o); err == nil {
		t.Error("a layer that is too short is written")
	}
}
