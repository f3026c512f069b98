package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is an image for one platform.
type image struct {
	top      ocispec.Descriptor // what its name means: an index, or the manifest
	manifest ocispec.Descriptor
	configAt ocispec.Descriptor
	config   []byte
	layers   []ocispec.Descriptor // lowest first
}

// document is an image index or an image manifest, OCI's or docker's
// (image-spec, image-index.md and manifest.md).
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Config        ocispec.Descriptor   `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
}

func (d *document) isIndex() bool { return d.Manifests != nil }

// maxDepth bounds indexes in indexes.
const maxDepth = 4

// image reads the image for platform from what its name means. More than one
// descriptor is what a layout without an index of its own has for several
// platforms.
func (s *Store) image(ctx context.Context, name reference.Named, tops []ocispec.Descriptor, platform string) (image, error) {
	want, err := platforms.Parse(platform)
	if err != nil {
		return image{}, fmt.Errorf("platform %q: %w", platform, err)
	}
	p := picker{s: s, name: name, want: want}
	top := tops[0]
	if len(tops) > 1 {
		if top, err = p.pick(ctx, tops); err != nil {
			return image{}, err
		}
	}
	doc, top, err := p.read(ctx, top)
	if err != nil {
		return image{}, err
	}
	img := image{top: top, manifest: top}
	if doc.isIndex() {
		if img.manifest, err = p.pick(ctx, doc.Manifests); err != nil {
			return image{}, err
		}
		if doc, img.manifest, err = p.read(ctx, img.manifest); err != nil {
			return image{}, err
		}
		if doc.isIndex() {
			return image{}, fmt.Errorf("index %s calls index %s an image", img.top.Digest, img.manifest.Digest)
		}
	}
	img.configAt, img.layers = doc.Config, doc.Layers
	if t := img.configAt.MediaType; t != "" && !images.IsKnownConfig(t) {
		return image{}, fmt.Errorf("not an image to run: its config is %s", t)
	}
	if img.config, err = s.read(ctx, name, img.configAt); err != nil {
		return image{}, err
	}
	if img.manifest.Digest == img.top.Digest {
		return img, p.check(img.config)
	}
	return img, nil
}

// diffIDs are the digests of the uncompressed layers.
func (img *image) diffIDs() ([]digest.Digest, error) {
	var config struct {
		RootFS ocispec.RootFS `json:"rootfs"`
	}
	if err := json.Unmarshal(img.config, &config); err != nil {
		return nil, fmt.Errorf("reading config %s: %w", img.configAt.Digest, err)
	}
	ids := config.RootFS.DiffIDs
	if len(ids) != len(img.layers) {
		return nil, fmt.Errorf("config %s has %d layers, manifest %s has %d", img.configAt.Digest, len(ids), img.manifest.Digest, len(img.layers))
	}
	for i, id := range ids {
		if err := id.Validate(); err != nil {
			return nil, fmt.Errorf("config %s: diff ID %q: %w", img.configAt.Digest, id, err)
		}
		if desc := img.layers[i]; images.IsNonDistributable(desc.MediaType) {
			return nil, fmt.Errorf("layer %s is foreign (%s): registries do not have its contents", desc.Digest, desc.MediaType)
		}
	}
	return ids, nil
}

// picker chooses among the manifests of an index.
type picker struct {
	s    *Store
	name reference.Named
	want ocispec.Platform
}

// read reads an index or manifest, and completes its descriptor.
func (p *picker) read(ctx context.Context, desc ocispec.Descriptor) (*document, ocispec.Descriptor, error) {
	data, err := p.s.read(ctx, p.name, desc)
	if err != nil {
		return nil, desc, err
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, desc, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	switch {
	case doc.SchemaVersion == 1:
		return nil, desc, fmt.Errorf("manifest %s is of docker's schema 1, which is no longer in use: build or push the image again", desc.Digest)
	case doc.isIndex() == (doc.Config.Digest != ""):
		return nil, desc, fmt.Errorf("%s is neither an image manifest nor an index", desc.Digest)
	case doc.MediaType != "":
		desc.MediaType = doc.MediaType
	case desc.MediaType == "" && doc.isIndex():
		desc.MediaType = ocispec.MediaTypeImageIndex
	case desc.MediaType == "":
		desc.MediaType = ocispec.MediaTypeImageManifest
	}
	desc.Size = int64(len(data))
	return &doc, desc, nil
}

// pick chooses the manifest that runs best on the wanted platform. Entries
// that do not say their platform are looked into when no other fits.
func (p *picker) pick(ctx context.Context, from []ocispec.Descriptor) (ocispec.Descriptor, error) {
	var known, rest []ocispec.Descriptor
	for _, desc := range from {
		switch {
		case desc.Annotations["vnd.docker.reference.type"] == "attestation-manifest":
		case desc.Platform != nil:
			known = append(known, desc)
		default:
			rest = append(rest, desc)
		}
	}
	if desc, ok := p.best(known); ok {
		return desc, nil
	}
	more, err := p.lookInto(ctx, rest, 0)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	known = append(known, more...)
	if desc, ok := p.best(known); ok {
		return desc, nil
	}
	there := []string{}
	for _, desc := range known {
		there = append(there, platforms.Format(*desc.Platform))
	}
	slices.Sort(there)
	return ocispec.Descriptor{}, fmt.Errorf("no image for %s, only for: %s", platforms.Format(p.want), strings.Join(slices.Compact(there), ", "))
}

// best is the one of known that runs best; the first of equals.
func (p *picker) best(known []ocispec.Descriptor) (ocispec.Descriptor, bool) {
	var fit []ocispec.Descriptor
	for _, desc := range known {
		if p.fits(*desc.Platform) {
			fit = append(fit, desc)
		}
	}
	if len(fit) == 0 {
		return ocispec.Descriptor{}, false
	}
	order := platforms.Only(p.want)
	slices.SortStableFunc(fit, func(a, b ocispec.Descriptor) int {
		switch {
		case order.Less(*a.Platform, *b.Platform):
			return -1
		case order.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return fit[0], true
}

// lookInto finds the manifests below descs, which do not say their platform,
// and the platform of each.
func (p *picker) lookInto(ctx context.Context, descs []ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	if depth == maxDepth {
		return nil, errors.New("indexes in indexes, too deep")
	}
	var out []ocispec.Descriptor
	for _, desc := range descs {
		if desc.Platform != nil {
			out = append(out, desc)
			continue
		}
		doc, at, err := p.read(ctx, desc)
		if err != nil {
			return nil, err
		}
		if doc.isIndex() {
			inner, err := p.lookInto(ctx, doc.Manifests, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
			continue
		}
		if !images.IsKnownConfig(doc.Config.MediaType) {
			continue // a signature, say
		}
		config, err := p.s.read(ctx, p.name, doc.Config)
		if err != nil {
			return nil, err
		}
		got, err := platformIn(config)
		if err != nil {
			return nil, err
		}
		at.Platform = &got
		out = append(out, at)
	}
	return out, nil
}

// fits tells whether what is made for got runs on the wanted platform. Unlike
// elsewhere, 386 does not do for amd64: a kernel would not.
func (p *picker) fits(got ocispec.Platform) bool {
	got = platforms.Normalize(got)
	return got.Architecture == p.want.Architecture && platforms.Only(p.want).Match(got)
}

// check refuses an image that is for one platform, and not ours.
func (p *picker) check(config []byte) error {
	got, err := platformIn(config)
	if err != nil {
		return err
	}
	if got.OS == "" {
		got.OS = p.want.OS
	}
	if got.Architecture == "" || p.fits(got) {
		return nil
	}
	return fmt.Errorf("is for %s only, not for %s", platforms.Format(got), platforms.Format(p.want))
}

func platformIn(config []byte) (ocispec.Platform, error) {
	var got ocispec.Platform
	if err := json.Unmarshal(config, &got); err != nil {
		return got, fmt.Errorf("reading an image config: %w", err)
	}
	return got, nil
}
