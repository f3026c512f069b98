// Package assemble makes a plan's trees in this process, from image layers or
// from mounted images.
package assemble

import (
	"context"
	"io"

	"github.com/lkx-os/lkx/plan"
)

// Layer is one image layer: an uncompressed tar archive of Size bytes.
type Layer interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Fetcher opens an image's layers for one platform, lowest first. The digests
// of what it returns have been verified.
type Fetcher interface {
	Layers(ctx context.Context, img plan.Image, platform string) ([]Layer, error)
}
