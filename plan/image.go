package plan

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is a pinned image.
type Image struct {
	Ref    string `json:"ref"`              // as the manifest names it, in full: registry/name:tag
	Digest string `json:"digest,omitempty"` // "sha256:…" of the manifest or index that Ref named; empty when a build context replaced it
	Config []byte `json:"-"`                // OCI image config, JSON
}

// Blob is a sequence of bytes named by its digest, and where it is fetched from:
// the registry of an image, or a URL.
type Blob struct {
	Digest string `json:"digest"`         // "sha256:…"
	Size   int64  `json:"size,omitempty"` // bytes; 0 when unknown
	Image  *Image `json:"image,omitempty"`
	URL    string `json:"url,omitempty"`
}

// Resolver finds images.
type Resolver interface {
	// Resolve finds the digest of ref, and its config for one platform ("linux/amd64").
	Resolve(ctx context.Context, ref, platform string) (Image, error)
	// Pin finds the digest of ref, whatever platforms it is for.
	Pin(ctx context.Context, ref string) (Image, error)
	// Manifest reads one of the image's manifests, indexes or configs by its
	// digest; a size of 0 is not known.
	Manifest(ctx context.Context, img Image, d ocispec.Descriptor) ([]byte, error)
}
