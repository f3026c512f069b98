package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// Step is the tree of one step of a plan, to be laid over those before it: it
// lists no directory that the step itself does not place. files is the build
// context; it may be nil when the step needs none.
func Step(ctx context.Context, s *plan.Step, images Images, files fs.FS) (tree.Tree, error) {
	var b tree.Builder
	for _, f := range s.Defaults {
		if err := place(&b, f, files); err != nil {
			return nil, err
		}
	}
	for _, c := range s.Copies {
		b.NextLayer()
		t, err := images.Tree(ctx, c.Image)
		if err != nil {
			return nil, err
		}
		if err := copyInto(&b, c, t); err != nil {
			return nil, fmt.Errorf("placing %s: %w", c.Image.Ref, err)
		}
	}
	b.NextLayer()
	for _, f := range s.Files {
		if err := place(&b, f, files); err != nil {
			return nil, err
		}
	}
	return b.Overlay(), nil
}

// place puts one file of the manifest.
func place(b *tree.Builder, f plan.File, files fs.FS) error {
	e := tree.Entry{Path: f.Path, Mode: f.Mode, UID: f.UID, GID: f.GID, Link: f.Link}
	open := tree.Bytes(f.Contents)
	if e.Type() == tree.TypeRegular {
		e.Size = int64(len(f.Contents))
	}
	if f.Source != "" {
		info, err := fs.Stat(files, f.Source)
		if err != nil {
			return fmt.Errorf("reading the source of %s: %w", f.Path, err)
		}
		e.Size = info.Size()
		open = func() (io.ReadCloser, error) { return files.Open(f.Source) }
	}
	return b.Put(e, open)
}

// copyInto places what c wants of the image's tree t.
func copyInto(b *tree.Builder, c plan.Copy, t tree.Tree) error {
	switch {
	case c.From == "":
		return b.Add(c.Dest, t, func(p string) bool { return slices.Contains(c.Drop, p) })
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
