package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// Fault is something wrong in a store.
type Fault struct {
	Path  string // of the file; "" for an image
	Image string // name of the image; "" for a file
	Err   error
}

func (f Fault) String() string {
	if f.Image != "" {
		return fmt.Sprintf("%s: %v", f.Image, f.Err)
	}
	return f.Err.Error()
}

// Verified is what Verify found.
type Verified struct {
	Files  int
	Size   int64 // bytes
	Faults []Fault
}

// Verify reads all that the store has and compares it with its digests. With
// repair, for which the store must be open alone, it removes what is wrong: what
// is missing then is fetched again when it is needed.
func (s *Store) Verify(ctx context.Context, repair bool) (*Verified, error) {
	if repair && !s.alone {
		return nil, errShared
	}
	c, err := s.listing(ctx)
	if err != nil {
		return nil, err
	}
	v := &verifier{s: s, m: &meter{s: s, now: Event{Ref: s.dir, Op: "verify", Total: c.size()}}}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range c.files {
		g.Go(func() error { return v.file(gctx, f) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("verifying the image store %s: %w", s.dir, err)
	}
	v.m.done()
	slices.SortFunc(v.out.Faults, func(a, b Fault) int { return cmp.Compare(a.Path, b.Path) })
	if repair {
		for _, f := range v.out.Faults {
			if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("removing what is wrong: %w", err)
			}
		}
	}
	return &v.out, s.verifyImages(ctx, &v.out, repair)
}

// verifyImages finds the images that are whole for no platform. Their names
// promise what is not there.
func (s *Store) verifyImages(ctx context.Context, out *Verified, repair bool) error {
	c, err := s.contents(ctx)
	if err != nil {
		return err
	}
	var broken []*held
	for _, i := range c.images {
		if len(i.whole) > 0 {
			continue
		}
		broken = append(broken, i)
		out.Faults = append(out.Faults, Fault{Image: i.name, Err: i.lack()})
	}
	if !repair {
		return nil
	}
	return s.forget(broken)
}

// verifier verifies files, several at a time.
type verifier struct {
	s   *Store
	m   *meter
	mu  sync.Mutex
	out Verified
}

// file verifies one file.
func (v *verifier) file(ctx context.Context, f *file) error {
	var wrong error
	switch f.kind {
	case KindBlob, KindLayer:
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(f.path))), filepath.Base(f.path))
		if wrong = d.Validate(); wrong != nil {
			wrong = fmt.Errorf("%s is not named by a digest", f.path)
			break
		}
		err := v.hash(ctx, f, d)
		if err != nil && !errors.Is(err, errMismatch) {
			return err
		}
		wrong = err
	case KindDerived:
		err := v.mark(ctx, f)
		if err != nil && !errors.Is(err, errMismatch) {
			return err
		}
		wrong = err
	default:
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.out.Files++
	v.out.Size += f.size
	if wrong != nil {
		v.out.Faults = append(v.out.Faults, Fault{Path: f.path, Err: wrong})
	}
	return nil
}

// hash compares the contents of f with its digest. A layer that is right and
// lost its stamp gets it back.
func (v *verifier) hash(ctx context.Context, f *file, want digest.Digest) error {
	in, err := openUnused(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a build found it wrong, and removed it
	}
	if err != nil {
		return err
	}
	defer in.Close()
	sum := want.Algorithm().Hash()
	size, err := io.Copy(io.MultiWriter(sum, v), until{ctx, in})
	if err != nil {
		return err
	}
	if got := digest.NewDigest(want.Algorithm(), sum); got != want {
		return fmt.Errorf("%s: %w: it holds %s", f.path, errMismatch, got)
	}
	if f.kind == KindLayer && v.s.alone {
		return stampLasting(in, size)
	}
	return nil
}

// mark compares the contents of a derived file with its mark.
func (v *verifier) mark(ctx context.Context, f *file) error {
	in, err := openUnused(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // as with hash
	}
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := checkDerived(ctx, in)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.m.now.Done += size
	return nil
}

// Write counts what was read.
func (v *verifier) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.m.Write(p)
}

// openUnused opens a file without making this a use of it, as far as the system
// lets us: only its owner may.
func openUnused(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOATIME, 0)
	if errors.Is(err, fs.ErrPermission) {
		return os.Open(path)
	}
	return f, err
}
