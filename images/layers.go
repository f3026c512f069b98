package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/plan"
)

var _ assemble.Fetcher = (*Store)(nil)

// parallel is how many layers of an image are fetched at a time.
const parallel = 4

// Layers implements [assemble.Fetcher].
func (s *Store) Layers(ctx context.Context, img plan.Image, platform string) ([]assemble.Layer, error) {
	at, err := s.pinned(ctx, img)
	if err != nil {
		return nil, err
	}
	m, err := s.manifest(ctx, at, platform)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", img.Ref, err)
	}
	var conf ocispec.Image
	if err := json.Unmarshal(img.Config, &conf); err != nil {
		return nil, fmt.Errorf("%s: reading the image's config: %w", img.Ref, err)
	}
	ids := conf.RootFS.DiffIDs
	if len(ids) != len(m.Layers) {
		return nil, fmt.Errorf("%s: the image has %d layers, and its config names %d", img.Ref, len(m.Layers), len(ids))
	}
	out := make([]assemble.Layer, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, desc := range m.Layers {
		g.Go(func() error {
			f, err := s.layer(ctx, at, desc, ids[i])
			if err != nil {
				return fmt.Errorf("%s: layer %s: %w", img.Ref, short(desc.Digest), err)
			}
			out[i] = f
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		for _, l := range out {
			if l != nil {
				l.Close()
			}
		}
		return nil, err
	}
	return out, nil
}

// pinned finds an image that was resolved before. A layout knows it by the
// name as it was written; a registry by its digest.
func (s *Store) pinned(ctx context.Context, img plan.Image) (located, error) {
	named, err := reference.ParseNormalizedNamed(img.Ref)
	if err != nil {
		return located{}, fmt.Errorf("%q is not an image reference: %w", img.Ref, err)
	}
	canonical, err := reference.WithDigest(reference.TrimNamed(named), digest.Digest(img.Digest))
	if err != nil {
		return located{}, fmt.Errorf("pinning %s: %w", img.Ref, err)
	}
	return s.locate(ctx, canonical.String())
}

// layer opens a layer, uncompressed.
func (s *Store) layer(ctx context.Context, at located, desc ocispec.Descriptor, diffID digest.Digest) (assemble.Layer, error) {
	if strings.Contains(desc.MediaType, "nondistributable") || strings.Contains(desc.MediaType, "foreign") {
		return nil, fmt.Errorf("%s cannot be distributed: its registry does not have it", desc.MediaType)
	}
	if err := errors.Join(desc.Digest.Validate(), diffID.Validate()); err != nil {
		return nil, err
	}
	name := filepath.Join(s.dir, layersDir, diffID.Encoded())
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.unpack(ctx, at, desc, diffID, name); err != nil {
			return nil, err
		}
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{f, info.Size()}, nil
}

// file is a layer on disk.
type file struct {
	*os.File
	size int64
}

func (f *file) Size() int64 { return f.size }

// unpack writes a layer's uncompressed bytes to name, verified against both digests.
func (s *Store) unpack(ctx context.Context, at located, desc ocispec.Descriptor, diffID digest.Digest, name string) error {
	from := at.from
	if _, ok := from.(layout); !ok {
		if err := s.pull(ctx, at, desc); err != nil {
			return err
		}
		from = layout(s.dir)
	}
	unlock, err := s.lock(ctx, "layer-"+diffID.Encoded())
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(name); err == nil {
		return nil // another build was quicker
	}
	in, err := from.open(ctx, desc, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(name), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	report := s.reporter(at.ref, desc, "unpack")
	if err := decompress(out, &counted{r: in, report: report}, desc, diffID); err != nil {
		out.Close()
		return err
	}
	report(desc.Size, true)
	return commit(out, name)
}

// decompress copies a layer, and checks the digests of what it reads and writes.
func decompress(w io.Writer, r io.Reader, desc ocispec.Descriptor, diffID digest.Digest) error {
	packed, plain := desc.Digest.Algorithm().Digester(), diffID.Algorithm().Digester()
	tee := io.TeeReader(r, packed.Hash())
	z, err := decompressor(desc.MediaType, tee)
	if err != nil {
		return err
	}
	defer z.Close()
	if _, err := io.Copy(io.MultiWriter(w, plain.Hash()), z); err != nil {
		return fmt.Errorf("decompressing: %w", err)
	}
	if _, err := io.Copy(io.Discard, tee); err != nil { // what a decompressor leaves unread
		return err
	}
	if got := packed.Digest(); got != desc.Digest {
		return fmt.Errorf("digest mismatch: the blob holds %s", got)
	}
	if got := plain.Digest(); got != diffID {
		return fmt.Errorf("digest mismatch: uncompressed it is %s, and the image's config says %s", got, diffID)
	}
	return nil
}

func decompressor(mediaType string, r io.Reader) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		return pgzip.NewReader(r)
	case strings.HasSuffix(mediaType, "zstd"):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case strings.HasSuffix(mediaType, "tar"):
		return io.NopCloser(r), nil
	}
	return nil, fmt.Errorf("unknown layer type %q", mediaType)
}
