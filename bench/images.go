package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// nameKey is the annotation of index.json with an image's full name.
const nameKey = "io.containerd.image.name"

// image is one that is made up: parts of contents, in layers.
type image struct {
	Name   string  // in full
	Layers []layer // lowest first
}

// layer holds parts, each a directory of files.
type layer struct {
	Parts []part
	Gzip  bool // else zstd
}

// part is a directory of about Size bytes, the same for the same Seed.
type part struct {
	Seed uint64
	Size int64
}

// makeImages writes images into an OCI image layout in dir, unless just these
// are there.
func makeImages(ctx context.Context, dir string, images []image) error {
	want, err := json.Marshal(images)
	if err != nil {
		return err
	}
	stamp := filepath.Join(dir, "made-of.json")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == string(want) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	l := layoutDir(dir)
	if err := os.MkdirAll(filepath.Dir(l.blob("x")), 0o755); err != nil {
		return err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	index.Manifests = make([]ocispec.Descriptor, len(images))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, img := range images {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			index.Manifests[i], err = l.image(img)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("making images: %w", err)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		ocispec.ImageIndexFile: text, ocispec.ImageLayoutFile: []byte(`{"imageLayoutVersion":"1.0.0"}`), filepath.Base(stamp): want,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// layoutDir is a directory with an OCI image layout.
type layoutDir string

// blob is the path of the blob with the sha256 hex.
func (l layoutDir) blob(hex string) string {
	return filepath.Join(string(l), ocispec.ImageBlobsDir, "sha256", hex)
}

// image writes one image.
func (l layoutDir) image(img image) (ocispec.Descriptor, error) {
	platform := ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	config := ocispec.Image{Platform: platform, RootFS: ocispec.RootFS{Type: "layers"}}
	config.Config.Entrypoint = []string{"/usr/bin/true"}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, layer := range img.Layers {
		desc, diffID, err := l.layer(layer)
		if err != nil {
			return desc, err
		}
		m.Layers = append(m.Layers, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	var err error
	if m.Config, err = l.document(ocispec.MediaTypeImageConfig, config); err != nil {
		return m.Config, err
	}
	desc, err := l.document(m.MediaType, m)
	desc.Platform = &platform
	desc.Annotations = map[string]string{nameKey: img.Name}
	return desc, err
}

func (l layoutDir) document(mediaType string, v any) (ocispec.Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := digest.FromBytes(text)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(text))}, os.WriteFile(l.blob(d.Encoded()), text, 0o644)
}

// layer writes one layer, and gives the digest of what is in it, too.
func (l layoutDir) layer(of layer) (desc ocispec.Descriptor, diffID digest.Digest, err error) {
	f, err := os.CreateTemp(string(l), "layer-")
	if err != nil {
		return desc, "", err
	}
	defer os.Remove(f.Name()) // nothing is there when all went well
	defer f.Close()
	out := &hashed{w: f, sum: digest.SHA256.Hash()}
	var z io.WriteCloser
	if of.Gzip {
		desc.MediaType = ocispec.MediaTypeImageLayerGzip
		z = gzip.NewWriter(out)
	} else {
		desc.MediaType = ocispec.MediaTypeImageLayerZstd
		if z, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1)); err != nil {
			return desc, "", err
		}
	}
	plain := &hashed{w: z, sum: digest.SHA256.Hash()}
	tw := tar.NewWriter(plain)
	for _, p := range of.Parts {
		if err := p.write(tw); err != nil {
			return desc, "", err
		}
	}
	for _, close := range []func() error{tw.Close, z.Close, f.Close} {
		if err := close(); err != nil {
			return desc, "", err
		}
	}
	desc.Digest, desc.Size = digest.NewDigest(digest.SHA256, out.sum), out.n
	return desc, digest.NewDigest(digest.SHA256, plain.sum), os.Rename(f.Name(), l.blob(desc.Digest.Encoded()))
}

// hashed counts and hashes what passes.
type hashed struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (h *hashed) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}

// write writes the entries of p: files in directories of fifty, some with a
// symbolic link to them.
func (p part) write(tw *tar.Writer) error {
	m := newMaker(p.Seed)
	top := fmt.Sprintf("usr/lib/part%d", p.Seed)
	dirs := []string{"usr", "usr/lib", top}
	for left, i := p.Size, 0; left > 0; i++ {
		if i%50 == 0 {
			dirs = append(dirs, fmt.Sprintf("%s/d%03d", top, i/50))
		}
		for _, d := range dirs {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}); err != nil {
				return err
			}
		}
		dirs = nil
		name := fmt.Sprintf("%s/d%03d/f%05d", top, i/50, i)
		size, kind := min(m.size(), left), m.kind()
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: size}); err != nil {
			return err
		}
		if err := m.write(tw, kind, size); err != nil {
			return err
		}
		if i%20 == 0 {
			h := &tar.Header{Typeflag: tar.TypeSymlink, Name: name + ".so", Linkname: path.Base(name), Mode: 0o777}
			if err := tw.WriteHeader(h); err != nil {
				return err
			}
		}
		left -= size
	}
	return nil
}
