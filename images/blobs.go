package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument bounds manifests and configs, which are read into memory.
const maxDocument = 8 << 20

// read is a small blob: a manifest, an index or a config. Those of registries
// are kept.
func (s *Store) read(ctx context.Context, at located, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, too many for a manifest or config", desc.Digest, desc.Size)
	}
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	path := blobPath(s.dir, desc.Digest)
	if l, ok := at.from.(layout); ok {
		path = blobPath(string(l), desc.Digest)
	} else if err := s.pull(ctx, at, desc); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(text); got != desc.Digest {
		return nil, fmt.Errorf("digest mismatch: %s holds %s", path, got)
	}
	return text, nil
}

// tries is how often a pull that breaks off is continued.
const tries = 4

// pull makes sure that the store has a blob, whole and verified. What was
// pulled before an interruption is not pulled again.
func (s *Store) pull(ctx context.Context, at located, desc ocispec.Descriptor) error {
	final := blobPath(s.dir, desc.Digest)
	if info, err := os.Stat(final); err == nil && info.Size() == desc.Size {
		return nil
	}
	unlock, err := s.lock(ctx, desc.Digest.Encoded())
	if err != nil {
		return err
	}
	defer unlock()
	if info, err := os.Stat(final); err == nil && info.Size() == desc.Size {
		return nil // another build was quicker
	}
	f, err := os.OpenFile(filepath.Join(s.dir, partialDir, desc.Digest.Encoded()), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	report := s.reporter(at.ref, desc, "pull")
	for try := 0; ; try++ {
		err = s.fill(ctx, f, at, desc, report)
		if err == nil || ctx.Err() != nil || !broken(err) || try+1 == tries {
			break
		}
		time.Sleep(time.Duration(1<<try) * 200 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("pulling %s: %w", short(desc.Digest), err)
	}
	if err := verify(f, desc); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	report(desc.Size, true)
	return commit(f, final)
}

// broken tells whether it is worth going on after err.
func broken(err error) bool {
	var mine *fs.PathError
	return !errors.As(err, &mine) && (errors.Is(err, io.ErrUnexpectedEOF) || isNetwork(err))
}

func isNetwork(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t)
}

// fill appends to f what is missing of the blob.
func (s *Store) fill(ctx context.Context, f *os.File, at located, desc ocispec.Descriptor, report func(int64, bool)) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > desc.Size {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if have, err = f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	if have == desc.Size {
		return nil
	}
	body, err := at.from.open(ctx, desc, have)
	if err != nil {
		return err
	}
	defer body.Close()
	n, err := io.Copy(f, io.LimitReader(&counted{r: body, n: have, report: report}, desc.Size-have))
	if err != nil {
		return err
	}
	if have+n < desc.Size {
		return fmt.Errorf("the connection ended after %d of %d bytes: %w", have+n, desc.Size, io.ErrUnexpectedEOF)
	}
	return nil
}

// verify tells whether f is the blob.
func verify(f *os.File, desc ocispec.Descriptor) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	got, err := desc.Digest.Algorithm().FromReader(f)
	if err != nil {
		return err
	}
	if got != desc.Digest {
		return fmt.Errorf("digest mismatch: the registry sent %s for %s", got, desc.Digest)
	}
	return nil
}

// reporter tells of a blob's progress.
func (s *Store) reporter(ref string, desc ocispec.Descriptor, op string) func(done int64, finished bool) {
	if s.opts.Progress == nil {
		return func(int64, bool) {}
	}
	return func(done int64, finished bool) {
		s.opts.Progress(Event{Ref: ref, Digest: desc.Digest.String(), Op: op, Done: done, Total: desc.Size, Finished: finished})
	}
}

// counted reports what is read, not more often than reportEvery.
type counted struct {
	r      io.Reader
	n      int64
	last   time.Time
	report func(int64, bool)
}

const reportEvery = 100 * time.Millisecond

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if time.Since(c.last) > reportEvery {
		c.last = time.Now()
		c.report(c.n, false)
	}
	return n, err
}

// short is a digest as people tell digests apart.
func short(d digest.Digest) string {
	if hex := d.Encoded(); len(hex) > 12 {
		return d.Algorithm().String() + ":" + hex[:12]
	}
	return d.String()
}
