package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/distribution/reference"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layerFile is an uncompressed layer. It implements assemble.Layer.
type layerFile struct {
	*os.File
	size int64
}

func (l *layerFile) Size() int64 { return l.size }

func (s *Store) layerPath(diffID digest.Digest) string {
	return s.side("layers", diffID.Algorithm().String(), diffID.Encoded())
}

// layer opens one layer; it is fetched and unpacked unless it is there.
func (s *Store) layer(ctx context.Context, name reference.Named, desc ocispec.Descriptor, diffID digest.Digest) (*layerFile, error) {
	if l, err := s.openStamped(s.layerPath(diffID)); l != nil || err != nil {
		return l, err
	}
	unlock, err := s.lock(ctx, "layer-"+diffID.Encoded())
	if err != nil {
		return nil, err
	}
	defer unlock()
	free, err := s.slots.Take(ctx, -desc.Size) // what takes longest must not begin last
	if err != nil {
		return nil, err
	}
	defer free()
	if l, err := s.reverify(ctx, diffID); l != nil || err != nil {
		return l, err
	}
	path, err := s.blob(ctx, name, desc)
	if err != nil {
		return nil, err
	}
	err = s.unpack(ctx, name, desc, diffID, path)
	if errors.Is(err, errMismatch) && path == s.layout.blob(desc.Digest) && s.remote != nil {
		// Our compressed copy went bad since it was fetched.
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		if path, err = s.blob(ctx, name, desc); err != nil {
			return nil, err
		}
		err = s.unpack(ctx, name, desc, diffID, path)
	}
	switch {
	case errors.Is(err, errMismatch):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("unpacking layer %s: %w", desc.Digest, err)
	}
	return openLayer(s.layerPath(diffID))
}

// openLayer opens a layer that was just verified.
func openLayer(path string) (*layerFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	touch(path)
	return &layerFile{f, info.Size()}, nil
}

// openStamped opens a layer that was verified and not written to since. It
// gives nil if there is none.
func (s *Store) openStamped(path string) (*layerFile, error) {
	l, err := openLayer(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := l.Stat()
	if err != nil || !s.stamped(info) {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// reverify opens a layer that lost its stamp, once its contents are known to be
// right; wrong ones are removed. It gives nil if there is none. The caller
// holds the layer's lock.
func (s *Store) reverify(ctx context.Context, diffID digest.Digest) (*layerFile, error) {
	path := s.layerPath(diffID)
	if l, err := s.openStamped(path); l != nil || err != nil {
		return l, err // another process unpacked it
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := diffID.Algorithm().Hash()
	size, err := io.Copy(sum, until{ctx, f})
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", path, err)
	}
	if digest.NewDigest(diffID.Algorithm(), sum) != diffID {
		return nil, os.Remove(path)
	}
	if err := stampLasting(f, size); err != nil {
		return nil, err
	}
	return openLayer(path)
}

// unpack writes the uncompressed layer of the blob at path, and verifies it. The
// caller holds the layer's lock.
func (s *Store) unpack(ctx context.Context, name reference.Named, desc ocispec.Descriptor, diffID digest.Digest, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	target := s.layerPath(diffID)
	if err := os.MkdirAll(s.side("layers", diffID.Algorithm().String()), 0o755); err != nil {
		return err
	}
	out, err := os.Create(target + ".part")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // nothing is there when all went well

	m := &meter{s: s, now: Event{Ref: name.String(), Digest: desc.Digest.String(), Op: "unpack", Total: desc.Size}}
	sum := diffID.Algorithm().Hash()
	aside := newAside(io.MultiWriter(out, sum))
	size, err := expand(aside, io.TeeReader(until{ctx, in}, m))
	if closed := aside.Close(); closed != nil {
		err = closed // what is written to it fails with the same
	}
	if err == nil {
		if got := digest.NewDigest(diffID.Algorithm(), sum); got != diffID {
			err = fmt.Errorf("it holds %s, the image's config says %s", got, diffID)
		}
	}
	if err != nil {
		// What does not unpack is most often not what it should be; that says more.
		if wrong := verify(path, desc); ctx.Err() == nil && errors.Is(wrong, errMismatch) {
			err = wrong
		}
		return errors.Join(err, out.Close())
	}
	if err := s.stamp(out, size); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.Rename(out.Name(), target); err != nil {
		return err
	}
	m.done()
	return nil
}

// decoders are those of zstandard that are not in use. Each has a window of
// megabytes, which is best kept for the next layer.
var decoders = sync.Pool{New: func() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // for options that it does not know
	}
	return z
}}

// expand writes what r has, uncompressed, and gives its size. The compression
// shows in the first bytes; media types have been known to be wrong.
func expand(w io.Writer, r io.Reader) (int64, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}): // RFC 1952, 2.3.1
		z, err := gzip.NewReader(b)
		if err != nil {
			return 0, fmt.Errorf("gzip: %w", err)
		}
		n, err := z.WriteTo(w)
		if err != nil {
			err = fmt.Errorf("gzip: %w", err)
		}
		return n, err
	case isZstd(head):
		z := decoders.Get().(*zstd.Decoder)
		defer decoders.Put(z)
		err := z.Reset(b)
		if err != nil {
			return 0, fmt.Errorf("zstd: %w", err)
		}
		defer z.Reset(nil)
		n, err := z.WriteTo(w)
		if err != nil {
			err = fmt.Errorf("zstd: %w", err)
		}
		return n, err
	}
	return io.Copy(w, b)
}

// isZstd knows a zstandard or skippable frame (RFC 8878, 3.1).
func isZstd(head []byte) bool {
	return bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}
