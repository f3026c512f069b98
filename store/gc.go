package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Policy is what Prune removes. The zero value is what no image of the store
// needs; derived entries stay.
type Policy struct {
	All    bool      // everything
	Before time.Time // what was of no use since then; the zero time for no such limit
	Size   int64     // what was of use longest ago, until so many bytes are left; 0 for no such limit
	DryRun bool      // removes nothing
}

// Removed is what was removed.
type Removed struct {
	Images []ImageUsage       `json:"images"` // that lost their names
	Kinds  map[Kind]KindUsage `json:"kinds"`
	Size   int64              `json:"size"` // bytes that are free now
	Left   int64              `json:"left"` // bytes that are still there
}

// errShared tells a programmer of removing things from under others.
var errShared = errors.New("the image store is not open alone")

// Prune removes what p says. A run that is killed leaves a store that works.
func (s *Store) Prune(ctx context.Context, p Policy) (*Removed, error) {
	// Most often a size is kept, which costs no look at the images.
	c, err := s.listing(ctx)
	if err == nil && (p.All || !p.Before.IsZero() || p.Size == 0 || c.size() > p.Size) {
		c, err = s.contents(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s.remove(ctx, c, c.choose(p), p.DryRun)
}

// Remove removes the images of these names, and what they alone need. A name may
// be a digest or the start of one, as in "sha256:1234".
func (s *Store) Remove(ctx context.Context, names ...string) (*Removed, error) {
	c, err := s.contents(ctx)
	if err != nil {
		return nil, err
	}
	found, err := c.find(names)
	if err != nil {
		return nil, err
	}
	var d doomed
	for _, i := range found {
		d.image(i)
	}
	return s.remove(ctx, c, d, false)
}

// UnknownImageError is an image that the store does not have.
type UnknownImageError struct {
	Name  string
	Known []string // names of those it has
}

func (e *UnknownImageError) Error() string { return fmt.Sprintf("no image %q in the store", e.Name) }

// find is the images of these names, each once.
func (c *contents) find(names []string) ([]*held, error) {
	var out []*held
	for _, name := range names {
		full := name
		if n, err := parse(name); err == nil {
			full = n.String()
		}
		known := len(out)
		missing := true
		for _, i := range c.images {
			byDigest := strings.HasPrefix(name, "sha256:") && strings.HasPrefix(i.desc.Digest.String(), name)
			if i.name != full && !byDigest {
				continue
			}
			missing = false
			if !slices.Contains(out[:known], i) {
				out = append(out, i)
			}
		}
		if missing {
			e := &UnknownImageError{Name: name}
			for _, i := range c.images {
				e.Known = append(e.Known, i.name)
			}
			return nil, e
		}
	}
	return out, nil
}

// doomed is what is about to be removed.
type doomed struct {
	images []*held
	files  []*file // of no image that stays
	size   int64
}

func (d *doomed) file(f *file) {
	d.files = append(d.files, f)
	d.size += f.size
}

func (d *doomed) image(i *held) {
	d.images = append(d.images, i)
	for _, f := range i.files {
		if f.refs--; f.refs == 0 {
			d.file(f)
		}
	}
}

// choose is what p says: images whole, and files that no image needs.
func (c *contents) choose(p Policy) doomed {
	type candidate struct {
		used  time.Time
		image *held
		file  *file
	}
	var list []candidate
	for _, i := range c.images {
		list = append(list, candidate{used: i.used, image: i})
	}
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		if f := c.files[path]; f.refs == 0 {
			list = append(list, candidate{used: f.used, file: f})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.used.Compare(b.used) })
	var d doomed
	total, limited := c.size(), p.Size > 0 || !p.Before.IsZero()
	for _, e := range list {
		switch {
		case p.All:
		case p.Size > 0 && total-d.size > p.Size:
		case e.used.Before(p.Before):
		case !limited && e.file != nil && e.file.kind != KindDerived:
		default:
			continue
		}
		if e.image != nil {
			d.image(e.image)
		} else {
			d.file(e.file)
		}
	}
	return d
}

// remove removes what is doomed, and the locks of what is gone.
func (s *Store) remove(ctx context.Context, c *contents, d doomed, dry bool) (*Removed, error) {
	out := &Removed{Images: []ImageUsage{}, Kinds: map[Kind]KindUsage{}, Size: d.size, Left: c.size() - d.size}
	for _, i := range d.images {
		out.Images = append(out.Images, ImageUsage{Name: i.name, Digest: i.desc.Digest.String(), LastUsed: i.used})
	}
	slices.SortFunc(out.Images, func(a, b ImageUsage) int { return cmp.Compare(a.Name, b.Name) })
	for _, f := range d.files {
		out.Kinds[f.kind] = out.Kinds[f.kind].plus(f)
	}
	if dry {
		return out, nil
	}
	if !s.alone {
		return nil, errShared
	}
	if err := s.unlink(ctx, d); err != nil {
		return nil, fmt.Errorf("pruning the image store: %w", err)
	}
	return out, s.unlockAll()
}

// unlink removes the blobs of images after their names, so that no name leads
// nowhere should this be stopped. Everything else goes first, for it makes room
// for writing index.json. If that is not enough, the blobs must.
func (s *Store) unlink(ctx context.Context, d doomed) error {
	ofImages := map[*file]bool{}
	for _, i := range d.images {
		for _, f := range i.files {
			ofImages[f] = f.kind == KindBlob
		}
	}
	files := func(last bool) error {
		for _, f := range d.files {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if ofImages[f] != last {
				continue
			}
			if err := os.RemoveAll(f.path); err != nil {
				return err
			}
		}
		return nil
	}
	if err := files(false); err != nil {
		return err
	}
	err := s.forget(d.images)
	full := errors.Is(err, syscall.ENOSPC)
	if err != nil && !full {
		return err
	}
	if err := files(true); err != nil {
		return err
	}
	if full {
		return s.forget(d.images)
	}
	return nil
}

// forget takes images out of index.json.
func (s *Store) forget(gone []*held) error {
	if len(gone) == 0 {
		return nil
	}
	index, err := s.index()
	if err != nil {
		return err
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return slices.ContainsFunc(gone, func(i *held) bool {
			return i.desc.Digest == d.Digest && maps.Equal(i.desc.Annotations, d.Annotations)
		})
	})
	return s.writeIndex(index)
}

// unlockAll removes the files of all locks but the store's own: nobody else has
// the store open, and so nobody has these.
func (s *Store) unlockAll() error {
	locks, err := os.ReadDir(s.side("locks"))
	if err != nil {
		return err
	}
	for _, l := range locks {
		if slices.Contains([]string{useLock, gateLock, indexLock}, l.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(s.side("locks"), l.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Familiar is a name as people write it: "alpine:3" for
// "docker.io/library/alpine:3".
func Familiar(name string) string {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(n)
}
