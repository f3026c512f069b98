package plan

import "context"

// Image is a pinned image.
type Image struct {
	Ref    string `json:"ref"`              // as the manifest names it, in full: registry/name:tag
	Digest string `json:"digest,omitempty"` // "sha256:…" of the manifest or index that Ref named; empty when a build context replaced it
	Config []byte `json:"-"`                // OCI image config, JSON
}

// Resolver finds the digest and config of an image for one platform ("linux/amd64").
type Resolver interface {
	Resolve(ctx context.Context, ref, platform string) (Image, error)
}
