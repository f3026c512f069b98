package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// download is the path of a file with what url has to give, which d names. It
// is kept among the blobs, and so fetched once.
func (s *Store) download(ctx context.Context, from string, d digest.Digest) (string, error) {
	desc := ocispec.Descriptor{Digest: d}
	path := s.layout.blob(d)
	unlock, err := s.lock(ctx, "blob-"+d.Encoded())
	if err != nil {
		return "", err
	}
	defer unlock()
	if s.has(desc) {
		if verify(path, desc) == nil {
			touch(path)
			return path, nil
		}
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	if s.remote == nil {
		return "", fmt.Errorf("%s is not in the store, and the network is off", from)
	}
	return path, s.get(ctx, from, d, path)
}

// get writes what url gives to path, if d is its digest.
func (s *Store) get(ctx context.Context, from string, d digest.Digest, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	answer, err := s.remote.client.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			return fmt.Errorf("fetching %s: %s", from, plainNet(failed.Err))
		}
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("fetching %s: the server answers %s", from, answer.Status)
	}
	f, err := os.CreateTemp(s.side("partial"), "url-")
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(s.side("partial"), 0o755); err == nil {
			f, err = os.CreateTemp(s.side("partial"), "url-")
		}
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone, if all went well
	sum := d.Algorithm().Hash()
	m := &meter{s: s, now: Event{Ref: from, Digest: d.String(), Op: "pull", Total: max(answer.ContentLength, 0)}}
	if _, err := io.Copy(io.MultiWriter(f, sum, m), until{ctx, answer.Body}); err != nil {
		return errors.Join(fmt.Errorf("fetching %s: %w", from, err), f.Close())
	}
	if got := digest.NewDigest(d.Algorithm(), sum); got != d {
		return errors.Join(fmt.Errorf("%s gives %s, not %s: %w", from, got, d, errMismatch), f.Close())
	}
	if err := f.Chmod(0o644); err != nil {
		return errors.Join(err, f.Close())
	}
	m.done()
	return place(f, path)
}

// verify tells whether the file path has the digest of desc.
func verify(path string, desc ocispec.Descriptor) error {
	d := desc.Digest
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := d.Algorithm().Hash()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := digest.NewDigest(d.Algorithm(), sum); got != d {
		return fmt.Errorf("%s: %w", path, mismatch(desc, got))
	}
	return nil
}
