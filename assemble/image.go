package assemble

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/tree"
)

// Marks of removed files in a layer (image-spec, layer.md, "Whiteouts").
const (
	whiteout       = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh." // other names of AUFS's own, never files
)

// Image is an image's root file system: its layers laid over each other.
func Image(layers []Layer) (tree.Tree, error) {
	var b tree.Builder
	for i, l := range layers {
		b.NextLayer()
		if err := apply(&b, l); err != nil {
			return nil, fmt.Errorf("reading layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return b.Tree(), nil
}

// Archive is the tree that a tar archive holds.
func Archive(r io.ReaderAt, size int64) (tree.Tree, error) {
	var b tree.Builder
	if err := apply(&b, section{r, size}); err != nil {
		return nil, err
	}
	return b.Tree(), nil
}

type section struct {
	io.ReaderAt
	size int64
}

func (s section) Close() error { return nil }
func (s section) Size() int64  { return s.size }

// apply lays the entries of one layer over b. Contents are read later, from
// where they stand in the layer.
func apply(b *tree.Builder, l Layer) error {
	at := io.NewSectionReader(l, 0, l.Size())
	tr := tar.NewReader(at)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not a whole tar archive: %w", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		if name == "" || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if slices.Contains(strings.Split(h.Name, "/"), "..") {
			return fmt.Errorf("entry %q leaves the root", h.Name)
		}
		if removed(b, name) {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			if err := hardLink(b, name, h); err != nil {
				return err
			}
			continue
		}
		offset, err := at.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		e, err := entry(name, h)
		if err != nil {
			return err
		}
		open := func() (io.ReadCloser, error) {
			return file{io.NewSectionReader(l, offset, e.Size)}, nil
		}
		if err := b.Put(e, open); err != nil {
			return err
		}
	}
}

// hardLink makes another name of a file. What unpacks layers on a file system
// gives the file the owner and mode of the link's entry; so do we.
func hardLink(b *tree.Builder, name string, h *tar.Header) error {
	if err := b.Link(name, h.Linkname); err != nil {
		return err
	}
	as := *h
	as.Typeflag = tar.TypeReg
	e, err := entry(name, &as)
	if err != nil {
		return err
	}
	return b.Chattr(name, e)
}

// file is an open file of a layer; it can be read at any place.
type file struct{ *io.SectionReader }

func (file) Close() error { return nil }

// removed carries out a whiteout, and tells whether name is one.
func removed(b *tree.Builder, name string) bool {
	dir, base := path.Split(name)
	switch {
	case base == opaqueWhiteout:
		b.Clear(dir)
	case strings.HasPrefix(base, whiteoutMeta):
	case strings.HasPrefix(base, whiteout):
		b.Remove(path.Join(dir, strings.TrimPrefix(base, whiteout)))
	default:
		return false
	}
	return true
}

// entry is the tree's form of a tar header.
func entry(name string, h *tar.Header) (tree.Entry, error) {
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > 1<<32-1 || int64(h.Gid) > 1<<32-1 {
		return tree.Entry{}, fmt.Errorf("entry %s: owner %d:%d is out of range", name, h.Uid, h.Gid)
	}
	e := tree.Entry{Path: name, Mode: uint32(h.Mode) & tree.PermMask, UID: uint32(h.Uid), GID: uint32(h.Gid)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Mode |= tree.TypeRegular
		e.Size = h.Size
		if sparse(h) {
			return tree.Entry{}, fmt.Errorf("entry %s: sparse files are not allowed in layers (image-spec, layer.md)", name)
		}
	case tar.TypeDir:
		e.Mode |= tree.TypeDir
	case tar.TypeSymlink:
		e.Mode = tree.TypeSymlink | 0o777
		e.Link = h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		e.Mode |= tree.TypeChar
		if h.Typeflag == tar.TypeBlock {
			e.Mode = e.Mode&^tree.TypeMask | tree.TypeBlock
		}
		e.Rdev = tree.Makedev(uint32(h.Devmajor), uint32(h.Devminor))
	case tar.TypeFifo:
		e.Mode |= tree.TypeFIFO
	default:
		return tree.Entry{}, fmt.Errorf("entry %s: unknown type %q", name, h.Typeflag)
	}
	for key, value := range h.PAXRecords {
		attr, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || !tree.Portable(attr) || e.Type() == tree.TypeSymlink {
			continue
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[attr] = value
	}
	return e, nil
}

// sparse tells whether the bytes in the archive are not the file's own.
func sparse(h *tar.Header) bool {
	return h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != ""
}

// Layers makes images' trees from what a fetcher opens, each image's layers once.
// It may be used side by side. Close it when all that was made from it has been
// read.
type Layers struct {
	Fetcher  Fetcher
	Platform string

	mu     sync.Mutex
	opened map[string]func() ([]Layer, error) // by the pinned reference
}

// Open fetches img, so that its tree is made without waiting.
func (l *Layers) Open(ctx context.Context, img plan.Image) error {
	_, err := l.layers(ctx, img)
	return err
}

// Tree is img's root file system, made anew: a tree of many files takes memory.
func (l *Layers) Tree(ctx context.Context, img plan.Image) (tree.Tree, error) {
	layers, err := l.layers(ctx, img)
	if err != nil {
		return nil, err
	}
	t, err := Image(layers)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Ref, err)
	}
	return t, nil
}

func (l *Layers) layers(ctx context.Context, img plan.Image) ([]Layer, error) {
	l.mu.Lock()
	open := l.opened[img.Pinned()]
	if open == nil {
		open = sync.OnceValues(func() ([]Layer, error) { return l.Fetcher.Layers(ctx, img, l.Platform) })
		if l.opened == nil {
			l.opened = map[string]func() ([]Layer, error){}
		}
		l.opened[img.Pinned()] = open
	}
	l.mu.Unlock()
	return open()
}

// Close closes every layer. Nothing may be under way.
func (l *Layers) Close() error {
	var err error
	for _, open := range l.opened {
		layers, _ := open() // nothing is opened now
		for _, layer := range layers {
			err = errors.Join(err, layer.Close())
		}
	}
	l.opened = nil
	return err
}
