package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageLayout makes dir an OCI image layout with images of these names, each of
// one file, for linux/amd64.
func imageLayout(dir string, names ...string) error {
	blobs := map[string][]byte{}
	add := func(mediaType string, data []byte) ocispec.Descriptor {
		d := digest.FromBytes(data)
		blobs["blobs/sha256/"+d.Encoded()] = data
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	for _, name := range names {
		var layer bytes.Buffer
		w := tar.NewWriter(&layer)
		if err := w.WriteHeader(&tar.Header{Name: "made-of", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(name))}); err != nil {
			return err
		}
		if _, err := w.Write([]byte(name)); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		config, err := json.Marshal(ocispec.Image{
			Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer.Bytes())}},
		})
		if err != nil {
			return err
		}
		manifest, err := json.Marshal(ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: add(ocispec.MediaTypeImageConfig, config),
			Layers: []ocispec.Descriptor{add(ocispec.MediaTypeImageLayer, layer.Bytes())},
		})
		if err != nil {
			return err
		}
		desc := add(ocispec.MediaTypeImageManifest, manifest)
		desc.Annotations = map[string]string{ocispec.AnnotationRefName: name}
		index.Manifests = append(index.Manifests, desc)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	blobs["index.json"], blobs["oci-layout"] = text, []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	for path, data := range blobs {
		if err := os.WriteFile(filepath.Join(dir, path), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func TestHuman(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536 << 10: "1.5 MiB", 20 << 30: "20.0 GiB", 1 << 50: "1024.0 TiB",
	} {
		if got := human(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 59 * time.Second: "now", 61 * time.Second: "1 min ago", 47 * time.Hour: "47 h ago", 49 * time.Hour: "2 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestCacheLimit(t *testing.T) {
	t.Setenv("LKX_CACHE_SIZE", "")
	for flag, want := range map[string]int64{"": 20 << 30, "0": 0, "5G": 5 << 30} {
		if got, err := cacheLimit(flag); err != nil || got != want {
			t.Errorf("%q: %d, %v", flag, got, err)
		}
	}
	t.Setenv("LKX_CACHE_SIZE", "1M")
	if got, err := cacheLimit(""); err != nil || got != 1<<20 {
		t.Errorf("of the environment: %d, %v", got, err)
	}
	if _, err := cacheLimit("much"); err == nil {
		t.Error("no error")
	}
}
