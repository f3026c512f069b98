package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/tree"
)

// Images gives the root file systems of images.
type Images interface {
	Tree(ctx context.Context, img plan.Image) (tree.Tree, error)
}

// Sources is where the parts of a step come from.
type Sources struct {
	Images Images
	Files  fs.FS // the build context; may be nil when no step needs it
	Blobs  Blobs // may be nil when no step needs it
}

// Blobs gives blobs as files.
type Blobs interface {
	// Blob is the path of a file that holds b, verified.
	Blob(ctx context.Context, b plan.Blob) (string, error)
}

// Step is the tree of one step of a plan, to be laid over those before it: it
// lists no directory that the step itself does not place.
func Step(ctx context.Context, s *plan.Step, src Sources) (tree.Tree, error) {
	var b tree.Builder
	p := placer{ctx: ctx, b: &b, src: src, origins: map[string]*tree.Origin{}}
	p.enter(s, "")
	for _, f := range s.Defaults {
		if err := p.place(f); err != nil {
			return nil, err
		}
	}
	for _, c := range s.Copies {
		b.NextLayer()
		t, err := src.Images.Tree(ctx, c.Image)
		if err != nil {
			return nil, err
		}
		if err := copyInto(&b, c, t); err != nil {
			return nil, fmt.Errorf("placing %s: %w", c.Image.Ref, err)
		}
	}
	b.NextLayer()
	for _, f := range s.Files {
		p.enter(s, f.Location)
		if err := p.place(f); err != nil {
			return nil, &FileError{f, err}
		}
	}
	return b.Overlay(), nil
}

// FileError is a fault of one of a step's files.
type FileError struct {
	File plan.File
	Err  error
}

func (e *FileError) Error() string { return e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// A placer puts the files that no image brought.
type placer struct {
	ctx     context.Context
	b       *tree.Builder
	src     Sources
	origins map[string]*tree.Origin
}

// enter makes what is put from now on come from a place of the manifest: from s
// itself if location is empty. LinuxKit says "volume[0]", where the key is volumes.
func (p *placer) enter(s *plan.Step, location string) {
	if location == "" {
		location = strings.Replace(s.Name, "volumes[", "volume[", 1)
	}
	if p.origins[location] == nil {
		p.origins[location] = &tree.Origin{Source: s.Source, Location: location}
	}
	p.b.Origin = p.origins[location]
}

func (p *placer) place(f plan.File) error {
	e := tree.Entry{Path: f.Path, Mode: f.Mode, UID: f.UID, GID: f.GID, Link: f.Link}
	switch {
	case f.Deep != nil:
		return p.directory(f)
	case f.Source != "":
		return p.fromFile(e, f.Source)
	case f.Blob != nil:
		name, err := p.src.Blobs.Blob(p.ctx, *f.Blob)
		if err != nil {
			return fmt.Errorf("fetching %s: %w", f.Path, err)
		}
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("fetching %s: %w", f.Path, err)
		}
		e.Size = info.Size()
		return p.b.Put(e, func() (io.ReadCloser, error) { return os.Open(name) })
	}
	if e.Type() == tree.TypeRegular {
		e.Size = int64(len(f.Contents))
	}
	return p.b.Put(e, tree.Bytes(f.Contents))
}

// fromFile puts e with the contents of a file of the build context.
func (p *placer) fromFile(e tree.Entry, name string) error {
	info, err := fs.Stat(p.src.Files, name)
	if err != nil {
		return fmt.Errorf("reading the source of %s: %w", e.Path, err)
	}
	e.Size = info.Size()
	return p.b.Put(e, func() (io.ReadCloser, error) { return p.src.Files.Open(name) })
}

// directory puts all of a directory of the build context. Owners are f's, and
// so may modes be: those of the building machine depend on who checked it out.
func (p *placer) directory(f plan.File) error {
	return fs.WalkDir(p.src.Files, f.Source, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading the source of %s: %w", f.Path, err)
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("reading the source of %s: %w", f.Path, err)
		}
		below := strings.TrimPrefix(strings.TrimPrefix(name, f.Source), "/")
		e := tree.Entry{Path: path.Join(f.Path, below), UID: f.UID, GID: f.GID}
		switch typ := info.Mode().Type(); {
		case name == f.Source || typ == fs.ModeDir:
			e.Mode = f.Mode
			if f.Deep.OwnModes {
				e.Mode |= permissions(info.Mode())
			}
			return p.b.Put(e, nil)
		case typ == fs.ModeSymlink:
			e.Mode = tree.TypeSymlink | 0o777
			if e.Link, err = fs.ReadLink(p.src.Files, name); err != nil {
				return fmt.Errorf("reading the source of %s: %w", f.Path, err)
			}
			return p.b.Put(e, nil)
		case typ != 0:
			return fmt.Errorf("the source of %s holds %s, which is neither a file, a directory nor a link", f.Path, name)
		}
		e.Mode = tree.TypeRegular | f.Deep.FileMode
		if f.Deep.OwnModes {
			e.Mode |= permissions(info.Mode())
		}
		return p.fromFile(e, name)
	})
}

// permissions are the bits of m that tools which carry files about keep.
func permissions(m fs.FileMode) uint32 { return uint32(m.Perm()) }

// copyInto places what c wants of the image's tree t.
func copyInto(b *tree.Builder, c plan.Copy, t tree.Tree) error {
	switch {
	case c.From == "":
		return b.Add(c.Dest, owned(t, c), func(p string) bool { return slices.Contains(c.Drop, p) })
	case c.Unpack:
		in, err := archiveIn(t, c.From)
		if err != nil {
			return err
		}
		return b.Add(c.Dest, in, nil)
	}
	e, err := find(t, c.From)
	if err != nil {
		return err
	}
	from := e.Path
	e.Path, e.Hard = c.Dest, 0
	return b.Put(e, func() (io.ReadCloser, error) { return t.Open(from) })
}

// owned is t with the owners that c gives to its files.
func owned(t tree.Tree, c plan.Copy) tree.Tree {
	if len(c.UIDs)+len(c.GIDs) == 0 {
		return t
	}
	return chowned{t, c}
}

type chowned struct {
	tree.Tree
	copy plan.Copy
}

func (c chowned) All() iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for e, err := range c.Tree.All() {
			e.UID, e.GID = c.copy.Owner(e.UID, e.GID)
			if !yield(e, err) {
				return
			}
		}
	}
}

// find is the regular file name of t.
func find(t tree.Tree, name string) (tree.Entry, error) {
	var near []string
	for e, err := range t.All() {
		if err != nil {
			return tree.Entry{}, err
		}
		if e.Path == name && e.Type() == tree.TypeRegular {
			return e, nil
		}
		if e.Type() == tree.TypeRegular && path.Dir(e.Path) == path.Dir(name) && len(near) < 8 {
			near = append(near, e.Path)
		}
	}
	return tree.Entry{}, fmt.Errorf("the image has no file %q (there are: %s)", name, strings.Join(near, ", "))
}

// archiveIn opens the tar archive name of t. What it holds is read from the
// archive where it lies, so the file must allow random access.
func archiveIn(t tree.Tree, name string) (tree.Tree, error) {
	e, err := find(t, name)
	if err != nil {
		return nil, err
	}
	f, err := t.Open(e.Path)
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		f.Close()
		return nil, fmt.Errorf("%s: no random access to its contents", name)
	}
	in, err := Archive(r, e.Size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unpacking %s: %w", name, err), f.Close())
	}
	return in, nil
}

// Dirs gives the root file systems of images that are mounted somewhere.
type Dirs map[string]string // a pinned reference to a directory

// Tree reads the directory of img.
func (d Dirs) Tree(_ context.Context, img plan.Image) (tree.Tree, error) {
	dir, ok := d[img.Pinned()]
	if !ok {
		return nil, fmt.Errorf("image %s is not mounted: %w", img.Ref, os.ErrNotExist)
	}
	return tree.Dir(dir)
}

// BlobFiles gives blobs that are mounted somewhere: files by digest.
type BlobFiles map[string]string

// Blob is the file of b, which whoever mounted it has verified.
func (f BlobFiles) Blob(_ context.Context, b plan.Blob) (string, error) {
	name, ok := f[b.Digest]
	if !ok {
		return "", fmt.Errorf("blob %s is not mounted: %w", b.Digest, os.ErrNotExist)
	}
	return name, nil
}
