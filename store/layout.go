package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is a directory that is an OCI image layout (image-spec,
// image-layout.md).
type layout struct{ dir string }

func emptyIndex() ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
}

// blob is the path of a blob, which need not be there.
func (l layout) blob(d digest.Digest) string {
	return filepath.Join(l.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// has tells whether the blob of desc is there, in full length.
func (l layout) has(desc ocispec.Descriptor) bool {
	info, err := os.Stat(l.blob(desc.Digest))
	return err == nil && info.Mode().IsRegular() && (desc.Size == 0 || info.Size() == desc.Size)
}

// index reads index.json.
func (l layout) index() (ocispec.Index, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, ocispec.ImageIndexFile))
	if errors.Is(err, os.ErrNotExist) {
		return ocispec.Index{}, fmt.Errorf("%s is not an OCI image layout: it has no %s: %w", l.dir, ocispec.ImageIndexFile, err)
	}
	if err != nil {
		return ocispec.Index{}, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return index, fmt.Errorf("reading %s: %w", filepath.Join(l.dir, ocispec.ImageIndexFile), err)
	}
	return index, nil
}

func (l layout) writeIndex(index ocispec.Index) error {
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(l.dir, ocispec.ImageIndexFile), data)
}

// named finds what index.json calls name: in full, or in any shorter form that
// means the same ("alpine", "alpine:latest").
func (l layout) named(name reference.Named) ([]ocispec.Descriptor, error) {
	index, err := l.index()
	if err != nil {
		return nil, err
	}
	var found []ocispec.Descriptor
	for _, desc := range index.Manifests {
		if slices.Contains(names(desc), name.String()) {
			found = append(found, desc)
		}
	}
	return found, nil
}

// names are the names of an entry of index.json, in full.
func names(desc ocispec.Descriptor) []string {
	var out []string
	for _, key := range []string{images.AnnotationImageName, ocispec.AnnotationRefName} {
		if n, err := parse(desc.Annotations[key]); err == nil {
			out = append(out, n.String())
		}
	}
	return out
}

// setNames gives descriptors their names in index.json. The caller holds the
// index's lock.
func (l layout) setNames(want map[string]ocispec.Descriptor) error {
	index, err := l.index()
	if err != nil {
		return err
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return slices.ContainsFunc(names(d), func(n string) bool { _, ok := want[n]; return ok })
	})
	for _, name := range slices.Sorted(maps.Keys(want)) {
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: want[name].MediaType,
			Digest:    want[name].Digest,
			Size:      want[name].Size,
			Annotations: map[string]string{
				images.AnnotationImageName: name,
				ocispec.AnnotationRefName:  name,
			},
		})
	}
	return l.writeIndex(index)
}
