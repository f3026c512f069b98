package store

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerManifest is the file in which docker looks for images in an archive
// (docker's image specification 1.2, "Combined Image JSON + Filesystem Changeset
// Format"): a list of dockerImage.
const dockerManifest = "manifest.json"

// dockerImage is an image in an archive of docker's. Paths are of files in it.
type dockerImage struct {
	Config   string
	RepoTags []string // names as people write them
	Layers   []string // lowest first
}

// Export writes the images of these names as a tar archive that holds an OCI
// image layout, and what "docker load" reads beside: of those platforms
// ("linux/arm64"), or of all that are here if none are given. The bytes depend on
// the images alone. Every blob is verified as it is written.
func (s *Store) Export(ctx context.Context, w io.Writer, names, of []string) error {
	c, err := s.contents(ctx)
	if err != nil {
		return err
	}
	found, err := c.find(names)
	if err != nil {
		return err
	}
	a := &archive{s: s, w: tar.NewWriter(w), index: emptyIndex(), blobs: map[string]ocispec.Descriptor{}}
	for _, i := range found {
		if err := a.image(i, of); err != nil {
			return fmt.Errorf("exporting %s: %w", i.name, err)
		}
	}
	if err := a.write(ctx); err != nil {
		return fmt.Errorf("exporting %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// archive is an archive that is being put together.
type archive struct {
	s      *Store
	w      *tar.Writer
	index  ocispec.Index
	docker []dockerImage
	blobs  map[string]ocispec.Descriptor // by their path
}

// image adds i, with all platforms of it that are asked for.
func (a *archive) image(i *held, of []string) error {
	chosen := i.whole
	if len(of) > 0 {
		chosen = nil
	}
	for _, want := range of {
		p, err := platforms.Parse(want)
		if err != nil {
			return fmt.Errorf("platform %q: %w", want, err)
		}
		n := len(chosen)
		for _, img := range i.whole {
			if platforms.OnlyStrict(p).Match(img.platform()) {
				chosen = append(chosen, img)
			}
		}
		if len(chosen) == n {
			return fmt.Errorf("the store does not have it for %s, only for: %s", want, strings.Join(i.usage().Platforms, ", "))
		}
	}
	if len(chosen) == 0 {
		return i.lack()
	}
	for _, d := range i.indexes {
		a.blobs[blobName(d.Digest)] = d
	}
	for _, img := range chosen {
		for _, d := range img.needs() {
			a.blobs[blobName(d.Digest)] = d
		}
	}
	a.index.Manifests = append(a.index.Manifests, entry(i.name, i.desc))
	// Docker has one platform of an image. It knows names without digests only.
	one := chosen[max(0, slices.IndexFunc(chosen, func(img image) bool { return img.platform().Architecture == runtime.GOARCH }))]
	d := dockerImage{Config: blobName(one.configAt.Digest)}
	if n, err := parse(i.name); err == nil && !strings.Contains(i.name, "@") {
		d.RepoTags = []string{reference.FamiliarString(n)}
	}
	for _, l := range one.layers {
		d.Layers = append(d.Layers, blobName(l.Digest))
	}
	a.docker = append(a.docker, d)
	return nil
}

// blobName is the path of a blob in a layout, with slashes.
func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// write writes all of the archive: what describes it first, so that who reads it
// from a pipe knows what comes.
func (a *archive) write(ctx context.Context) error {
	for _, f := range []struct {
		name string
		v    any
	}{
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
		{ocispec.ImageIndexFile, a.index},
		{dockerManifest, a.docker},
	} {
		text, err := json.Marshal(f.v)
		if err != nil {
			return err
		}
		if err := a.file(f.name, int64(len(text)), bytes.NewReader(text)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.blobs)) {
		if err := a.blob(ctx, name, a.blobs[name]); err != nil {
			return err
		}
	}
	return a.w.Close()
}

func (a *archive) file(name string, size int64, r io.Reader) error {
	if err := a.w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err := io.Copy(a.w, r)
	return err
}

func (a *archive) blob(ctx context.Context, name string, d ocispec.Descriptor) error {
	f, err := os.Open(a.s.layout.blob(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m := &meter{s: a.s, now: Event{Ref: name, Digest: d.Digest.String(), Op: "export", Total: info.Size()}}
	sum := d.Digest.Algorithm().Hash()
	if err := a.file(name, info.Size(), io.TeeReader(until{ctx, f}, io.MultiWriter(sum, m))); err != nil {
		return err
	}
	if got := digest.NewDigest(d.Digest.Algorithm(), sum); got != d.Digest {
		return fmt.Errorf("%s: %w", f.Name(), mismatch(d, got))
	}
	m.done()
	return nil
}
