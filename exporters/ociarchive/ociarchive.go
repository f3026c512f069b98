// Package ociarchive writes a container image of one layer as a tar archive: an
// OCI image layout (image-spec 1.1, image-layout.md), with Docker's
// manifest.json beside it for "docker load" before version 25.
//
// The layer is an uncompressed tar archive. Clients that want it compressed do
// that when they push it.
package ociarchive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options describe the image.
type Options struct {
	Name       string        // what it is loaded as: "os:latest"
	Arch       string        // GOARCH
	Entrypoint []string      // what a container of it runs
	Layer      digest.Digest // of the layer
	Size       int64         // of the layer, in bytes
	Epoch      int64         // time of the image and of the files, in seconds since 1970
}

// Write writes the image, of which layer has the files, to w.
func Write(w io.Writer, layer io.Reader, o Options) error {
	created := time.Unix(o.Epoch, 0).UTC()
	config, err := json.Marshal(ocispec.Image{
		Created:  &created,
		Platform: ocispec.Platform{OS: "linux", Architecture: o.Arch},
		Config:   ocispec.ImageConfig{Entrypoint: o.Entrypoint},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{o.Layer}},
	})
	if err != nil {
		return err
	}
	of := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: o.Layer, Size: o.Size}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    descriptor(ocispec.MediaTypeImageConfig, config),
		Layers:    []ocispec.Descriptor{of},
	})
	if err != nil {
		return err
	}
	entry := descriptor(ocispec.MediaTypeImageManifest, manifest)
	entry.Platform = &ocispec.Platform{OS: "linux", Architecture: o.Arch}
	// The annotations that skopeo and containerd know an image of a layout by.
	entry.Annotations = map[string]string{ocispec.AnnotationRefName: tag(o.Name), "io.containerd.image.name": o.Name}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{entry},
	})
	if err != nil {
		return err
	}
	loaded, err := json.Marshal([]saved{{Config: blob(digest.FromBytes(config)), RepoTags: []string{o.Name}, Layers: []string{blob(o.Layer)}}})
	if err != nil {
		return err
	}
	a := archive{tar.NewWriter(w), created}
	for _, f := range []struct {
		name     string
		contents io.Reader
		size     int64
	}{
		{blob(entry.Digest), bytes.NewReader(manifest), entry.Size},
		{blob(digest.FromBytes(config)), bytes.NewReader(config), int64(len(config))},
		{blob(o.Layer), layer, o.Size},
		{ocispec.ImageIndexFile, bytes.NewReader(index), int64(len(index))},
		{"manifest.json", bytes.NewReader(loaded), int64(len(loaded))},
		{ocispec.ImageLayoutFile, bytes.NewReader(layoutFile), int64(len(layoutFile))},
	} {
		if err := a.add(f.name, f.contents, f.size); err != nil {
			return fmt.Errorf("writing %s of the image: %w", f.name, err)
		}
	}
	return a.tw.Close()
}

// layoutFile marks the layout.
var layoutFile = []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)

// saved is an image in manifest.json, as "docker save" writes it (Docker Image
// Specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// descriptor is of data.
func descriptor(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// blob is where a layout has the blob d.
func blob(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// tag is what follows the colon in name.
func tag(name string) string { return name[strings.LastIndex(name, ":")+1:] }

type archive struct {
	tw   *tar.Writer
	time time.Time
}

// add writes one file. Its contents must be of that size.
func (a archive) add(name string, contents io.Reader, size int64) error {
	h := &tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: a.time, Typeflag: tar.TypeReg}
	if err := a.tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.CopyN(a.tw, contents, size)
	return err
}
