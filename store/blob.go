package store

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument bounds what is read into memory: manifests, indexes, configs.
const maxDocument = 8 << 20

// errMismatch marks contents that are not what their digest says.
var errMismatch = errors.New("digest mismatch")

func mismatch(desc ocispec.Descriptor, got digest.Digest) error {
	return fmt.Errorf("%w for %s %s: got %s", errMismatch, kind(desc.MediaType), desc.Digest, got)
}

// kind is what a reader calls a blob of a media type.
func kind(mediaType string) string {
	switch {
	case images.IsIndexType(mediaType):
		return "index"
	case images.IsManifestType(mediaType), mediaType == "":
		return "manifest"
	case images.IsKnownConfig(mediaType):
		return "config"
	}
	return "layer"
}

// blob is the path of a file with the blob of desc: in the store, in another
// layout, else fetched into the store. A size of 0 is not known.
func (s *Store) blob(ctx context.Context, name reference.Named, desc ocispec.Descriptor) (string, error) {
	if err := desc.Digest.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	if s.has(desc) {
		touch(s.layout.blob(desc.Digest))
		return s.layout.blob(desc.Digest), nil
	}
	for _, l := range s.layouts {
		if l.has(desc) {
			return l.blob(desc.Digest), nil
		}
	}
	if s.remote == nil {
		return "", fmt.Errorf("%s %s is in no layout, and the network is off", kind(desc.MediaType), desc.Digest)
	}
	return s.layout.blob(desc.Digest), s.fetch(ctx, name, desc)
}

// read gives the verified contents of a small blob. A bad copy in the store is
// fetched anew.
func (s *Store) read(ctx context.Context, name reference.Named, desc ocispec.Descriptor) ([]byte, error) {
	for again := false; ; again = true {
		if desc.Size > maxDocument {
			return nil, fmt.Errorf("%s %s is too large: %d bytes", kind(desc.MediaType), desc.Digest, desc.Size)
		}
		path, err := s.blob(ctx, name, desc)
		if err != nil {
			return nil, err
		}
		data, err := readSmall(path)
		if err != nil {
			return nil, err
		}
		got := desc.Digest.Algorithm().FromBytes(data)
		if got == desc.Digest {
			return data, nil
		}
		if path != s.layout.blob(desc.Digest) || s.remote == nil || again {
			return nil, fmt.Errorf("%s: %w", path, mismatch(desc, got))
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s is too large for a manifest or config", path)
	}
	return data, err
}

// fetch downloads the blob of desc into the store, or goes on with a download
// that broke off.
func (s *Store) fetch(ctx context.Context, name reference.Named, desc ocispec.Descriptor) error {
	unlock, err := s.lock(ctx, "blob-"+desc.Digest.Encoded())
	if err != nil {
		return err
	}
	defer unlock()
	if s.has(desc) {
		return nil // another process was first
	}
	if desc.Size == 0 {
		byDigest, err := reference.WithDigest(reference.TrimNamed(name), desc.Digest)
		if err != nil {
			return err
		}
		found, err := s.remote.resolve(ctx, byDigest)
		if err != nil {
			return err
		}
		desc.Size = found.Size
		if desc.MediaType == "" {
			desc.MediaType = found.MediaType
		}
	}
	p, err := s.openPartial(name, desc)
	if err != nil {
		return err
	}
	resumed := p.size > 0
	err = s.remote.fetch(ctx, name, desc, p)
	if errors.Is(err, errMismatch) && resumed {
		// What an earlier run left may be at fault.
		err = s.remote.fetch(ctx, name, desc, p)
	}
	if err != nil {
		return errors.Join(err, p.abandon(errors.Is(err, errMismatch)))
	}
	if err := place(p.f, s.layout.blob(desc.Digest)); err != nil {
		return err
	}
	p.meter.done()
	return nil
}

// partial is a download under way: a file and the digest of what it has.
type partial struct {
	f     *os.File
	sum   hash.Hash
	size  int64 // bytes in the file
	want  ocispec.Descriptor
	meter *meter
}

// openPartial opens the download of desc, with what an earlier run left of it.
// The caller holds the blob's lock.
func (s *Store) openPartial(name reference.Named, desc ocispec.Descriptor) (*partial, error) {
	if err := os.MkdirAll(s.side("partial"), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.side("partial", desc.Digest.Encoded()), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &partial{f: f, sum: desc.Digest.Algorithm().Hash(), want: desc}
	p.meter = &meter{s: s, now: Event{Ref: name.String(), Digest: desc.Digest.String(), Op: "pull", Total: desc.Size}}
	n, err := io.Copy(p.sum, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", f.Name(), err), f.Close())
	}
	if n > desc.Size {
		if err := p.reset(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		n = 0
	}
	p.size, p.meter.now.Done = n, n
	return p, nil
}

// Write appends to the download.
func (p *partial) Write(data []byte) (int, error) {
	n, err := p.f.Write(data)
	p.sum.Write(data[:n])
	p.size += int64(n)
	_, _ = p.meter.Write(data[:n])
	return n, err
}

// reset begins the download again.
func (p *partial) reset() error {
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.sum.Reset()
	p.size, p.meter.now.Done = 0, 0
	return nil
}

// verify checks a whole download. One that is wrong is emptied.
func (p *partial) verify() error {
	got := digest.NewDigest(p.want.Digest.Algorithm(), p.sum)
	if got == p.want.Digest {
		return nil
	}
	if err := p.reset(); err != nil {
		return err
	}
	return mismatch(p.want, got)
}

// abandon closes the download, to be continued by a later run unless it is of
// no use.
func (p *partial) abandon(useless bool) error {
	err := p.f.Close()
	if useless || p.size == 0 {
		err = errors.Join(err, os.Remove(p.f.Name()))
	}
	return err
}
