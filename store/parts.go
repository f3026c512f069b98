package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parts is what a layout has of an image.
type parts struct {
	indexes []ocispec.Descriptor
	blobs   []ocispec.Descriptor // the indexes, and all other blobs that are here
	whole   []image              // one for each platform of which nothing is missing
	missing error                // why another one is not whole; nil if all are
}

// parts finds what is here of the image that top names. Layers are not verified.
func (l layout) parts(top ocispec.Descriptor) parts {
	var p parts
	p.add(l, top, top, 0)
	return p
}

// add adds what desc names, an index or a manifest.
func (p *parts) add(l layout, top, desc ocispec.Descriptor, depth int) {
	doc, err := l.document(desc)
	if err == nil && depth == maxDepth {
		err = fmt.Errorf("%s: indexes in indexes, too deep", desc.Digest)
	}
	if err != nil {
		p.lacks(err)
		return
	}
	p.blobs = append(p.blobs, desc)
	if doc.isIndex() {
		p.indexes = append(p.indexes, desc)
		for _, m := range doc.Manifests {
			p.add(l, top, m, depth+1)
		}
		return
	}
	img := image{top: top, manifest: desc, configAt: doc.Config, layers: doc.Layers}
	if img.config, err = l.verified(doc.Config); err == nil {
		_, err = img.diffIDs()
	}
	for _, b := range append([]ocispec.Descriptor{doc.Config}, doc.Layers...) {
		if l.has(b) {
			p.blobs = append(p.blobs, b)
		} else if err == nil {
			err = fmt.Errorf("%s %s is missing", kind(b.MediaType), b.Digest)
		}
	}
	switch {
	case err != nil:
		p.lacks(err)
	case images.IsKnownConfig(doc.Config.MediaType) && img.platform().OS != "unknown":
		p.whole = append(p.whole, img)
	}
}

func (p *parts) lacks(err error) {
	if p.missing == nil {
		p.missing = err
	}
}

// lack is why no platform's image is whole.
func (p *parts) lack() error {
	if p.missing == nil {
		return errors.New("it is for no platform")
	}
	return fmt.Errorf("it is not whole: %w", p.missing)
}

// platform is what the image is for. Attestations, which look like images, are
// for none: their system is "unknown".
func (img *image) platform() ocispec.Platform {
	p, _ := platformIn(img.config) // a whole image's was read before
	return platforms.Normalize(p)
}

// needs are the blobs of the image, but for indexes.
func (img *image) needs() []ocispec.Descriptor {
	return append([]ocispec.Descriptor{img.manifest, img.configAt}, img.layers...)
}

// document is the index or manifest that desc names, if it is here and right.
func (l layout) document(desc ocispec.Descriptor) (*document, error) {
	data, err := l.verified(desc)
	if err != nil {
		return nil, err
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	return &doc, nil
}

// verified is the contents of a small blob, if it is here and right.
func (l layout) verified(desc ocispec.Descriptor) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	data, err := readSmall(l.blob(desc.Digest))
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return nil, fmt.Errorf("%s: %w", l.blob(desc.Digest), mismatch(desc, got))
	}
	return data, nil
}
