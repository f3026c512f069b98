package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/plan"
)

// A source has blobs.
type source interface {
	// open opens a blob, from a byte offset on.
	open(ctx context.Context, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error)
}

// layout is a source: an OCI image layout on this machine.
type layout string

func (l layout) open(_ context.Context, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(blobPath(string(l), desc.Digest))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// located is what a reference names, and where its blobs are.
type located struct {
	ref  string
	desc ocispec.Descriptor
	from source
}

// Resolve implements [plan.Resolver]. A reference with a digest that the store
// or a layout has needs no network; a tag is looked up in the layouts, and else
// asked for in its registry every time.
func (s *Store) Resolve(ctx context.Context, ref, platform string) (plan.Image, error) {
	at, err := s.locate(ctx, ref)
	if err != nil {
		return plan.Image{}, err
	}
	m, err := s.manifest(ctx, at, platform)
	if err != nil {
		return plan.Image{}, fmt.Errorf("%s: %w", ref, err)
	}
	conf, err := s.read(ctx, at, m.Config)
	if err != nil {
		return plan.Image{}, fmt.Errorf("%s: %w", ref, err)
	}
	if err := checkPlatform(conf, platform); err != nil {
		return plan.Image{}, fmt.Errorf("%s: %w", ref, err)
	}
	if _, ok := at.from.(layout); !ok {
		if err := s.remember(ctx, ref, at.desc); err != nil {
			return plan.Image{}, fmt.Errorf("writing the image store's index: %w", err)
		}
	}
	return plan.Image{Ref: ref, Digest: at.desc.Digest.String(), Config: conf}, nil
}

// locate finds what ref names.
func (s *Store) locate(ctx context.Context, ref string) (located, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return located{}, fmt.Errorf("%q is not an image reference: %w", ref, err)
	}
	named = reference.TagNameOnly(named)
	digested, pinned := named.(reference.Digested)
	for _, l := range append([]string{s.dir}, s.opts.Layouts...) {
		own := l == s.dir
		if own && !pinned {
			continue // a tag may have moved since
		}
		desc, err := find(l, named)
		if err != nil {
			return located{}, err
		}
		if desc != nil {
			return located{ref, *desc, s.within(l, named)}, nil
		}
	}
	r, err := s.reg.remote(named)
	if err != nil {
		return located{}, err
	}
	if pinned {
		// The registry is asked for the blob's size and type only when it is needed.
		if desc, ok := s.have(digested.Digest()); ok {
			return located{ref, desc, r}, nil
		}
	}
	desc, err := r.resolve(ctx)
	if err != nil {
		return located{}, err
	}
	return located{ref, desc, r}, nil
}

// within is the source of what the layout l has: what is missing of it in our
// own layout comes from the registry.
func (s *Store) within(l string, named reference.Named) source {
	if l != s.dir {
		return layout(l)
	}
	r, err := s.reg.remote(named)
	if err != nil {
		return layout(l)
	}
	return r
}

// have describes a manifest or index that the store has.
func (s *Store) have(d digest.Digest) (ocispec.Descriptor, bool) {
	text, err := os.ReadFile(blobPath(s.dir, d))
	if err != nil {
		return ocispec.Descriptor{}, false
	}
	return ocispec.Descriptor{MediaType: mediaType(text), Digest: d, Size: int64(len(text))}, true
}

// find looks for a name in a layout's index: by the full name under either
// annotation, or as it is usually shortened; or by its digest. nil is none.
func find(dir string, named reference.Named) (*ocispec.Descriptor, error) {
	idx, err := readIndex(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the layout %s: %w", dir, err)
	}
	if d, ok := named.(reference.Digested); ok {
		for _, m := range idx.Manifests {
			if m.Digest == d.Digest() {
				return &m, nil
			}
		}
		return nil, nil
	}
	for _, m := range idx.Manifests {
		for _, key := range []string{annotationName, ocispec.AnnotationRefName} {
			if name := m.Annotations[key]; name == named.String() || name == reference.FamiliarString(named) {
				return &m, nil
			}
		}
	}
	return nil, nil
}

// manifest reads the manifest of at for a platform.
func (s *Store) manifest(ctx context.Context, at located, platform string) (*ocispec.Manifest, error) {
	desc := at.desc
	text, err := s.read(ctx, at, desc)
	if err != nil {
		return nil, err
	}
	if ctrimages.IsIndexType(mediaType(text)) {
		if desc, err = choose(text, platform); err != nil {
			return nil, err
		}
		if text, err = s.read(ctx, at, desc); err != nil {
			return nil, err
		}
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	if !ctrimages.IsManifestType(mediaType(text)) || m.Config.Digest == "" {
		return nil, fmt.Errorf("%s is not an image manifest but %q", desc.Digest, mediaType(text))
	}
	return &m, nil
}

// mediaType is what a manifest or an index says it is; old ones only show it.
func mediaType(text []byte) string {
	var m struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	_ = json.Unmarshal(text, &m)
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

// choose picks the manifest for a platform. Attestations, whose platform is
// unknown/unknown, are none.
func choose(index []byte, platform string) (ocispec.Descriptor, error) {
	var idx ocispec.Index
	if err := json.Unmarshal(index, &idx); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("reading the index: %w", err)
	}
	want, err := platforms.Parse(platform)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("platform %s: %w", platform, err)
	}
	match := platforms.Only(want)
	var best *ocispec.Descriptor
	var there []string
	for i, m := range idx.Manifests {
		if m.Platform == nil || m.Platform.OS == "unknown" {
			continue
		}
		there = append(there, platforms.Format(*m.Platform))
		if match.Match(*m.Platform) && (best == nil || match.Less(*m.Platform, *best.Platform)) {
			best = &idx.Manifests[i]
		}
	}
	if best == nil {
		return ocispec.Descriptor{}, fmt.Errorf("no image for %s, only for %s", platform, strings.Join(there, ", "))
	}
	return *best, nil
}

// checkPlatform tells whether an image that is the only one fits.
func checkPlatform(conf []byte, platform string) error {
	var img ocispec.Image
	if err := json.Unmarshal(conf, &img); err != nil {
		return fmt.Errorf("reading the image's config: %w", err)
	}
	want, err := platforms.Parse(platform)
	if err != nil {
		return fmt.Errorf("platform %s: %w", platform, err)
	}
	if img.Architecture != "" && !platforms.Only(want).Match(platforms.Normalize(img.Platform)) {
		return fmt.Errorf("the image is for %s, not for %s", platforms.Format(img.Platform), platform)
	}
	return nil
}
