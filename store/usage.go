package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kind is what a file of a store is.
type Kind string

// The kinds of files.
const (
	KindBlob    Kind = "blobs"   // manifests, configs, compressed layers, what URLs gave
	KindLayer   Kind = "layers"  // uncompressed layers
	KindDerived Kind = "derived" // what was made of layers, such as segments
	KindPartial Kind = "partial" // downloads to be continued, and what a killed run left
)

// Kinds are all kinds of files that count, in the order they are shown.
var Kinds = []Kind{KindBlob, KindLayer, KindDerived, KindPartial}

// Usage is what a store holds. Sizes are in bytes.
type Usage struct {
	Images []ImageUsage       `json:"images"` // by name
	Kinds  map[Kind]KindUsage `json:"kinds"`
	Size   int64              `json:"size"`
}

// ImageUsage is an image that index.json names.
type ImageUsage struct {
	Name      string    `json:"name"` // in full; "" for none
	Digest    string    `json:"digest"`
	Platforms []string  `json:"platforms"` // that are here whole
	Size      int64     `json:"size"`      // of its blobs and uncompressed layers
	Unique    int64     `json:"unique"`    // of those that no other image needs
	LastUsed  time.Time `json:"lastUsed"`
}

// KindUsage is how much there is of one kind.
type KindUsage struct {
	Files int   `json:"files"`
	Size  int64 `json:"size"`
}

// Usage looks at all that is in the store.
func (s *Store) Usage(ctx context.Context) (*Usage, error) {
	c, err := s.contents(ctx)
	if err != nil {
		return nil, err
	}
	u := &Usage{Images: []ImageUsage{}, Kinds: map[Kind]KindUsage{}, Size: c.size()}
	for _, k := range Kinds {
		u.Kinds[k] = KindUsage{}
	}
	for _, f := range c.files {
		u.Kinds[f.kind] = u.Kinds[f.kind].plus(f)
	}
	for _, i := range c.images {
		u.Images = append(u.Images, i.usage())
	}
	slices.SortFunc(u.Images, func(a, b ImageUsage) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest, b.Digest))
	})
	return u, nil
}

func (k KindUsage) plus(f *file) KindUsage { return KindUsage{k.Files + 1, k.Size + f.size} }

// contents is what a store holds, and what needs what.
type contents struct {
	files  map[string]*file // by path
	images []*held          // as in index.json
}

// file is one file, or the directory of an import that was killed.
type file struct {
	kind Kind
	path string
	size int64
	used time.Time // last
	refs int       // images that need it
}

// held is an image that index.json names, with what is here of it.
type held struct {
	parts
	name  string
	desc  ocispec.Descriptor
	files []*file
	used  time.Time // last
}

func (i *held) usage() ImageUsage {
	u := ImageUsage{Name: i.name, Digest: i.desc.Digest.String(), Platforms: []string{}, LastUsed: i.used}
	for _, img := range i.whole {
		u.Platforms = append(u.Platforms, platforms.Format(img.platform()))
	}
	for _, f := range i.files {
		u.Size += f.size
		if f.refs == 1 {
			u.Unique += f.size
		}
	}
	return u
}

func (c *contents) size() int64 {
	var n int64
	for _, f := range c.files {
		n += f.size
	}
	return n
}

// contents lists the files and finds what images need.
func (s *Store) contents(ctx context.Context) (*contents, error) {
	c, err := s.listing(ctx)
	if err != nil {
		return nil, err
	}
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	for _, desc := range index.Manifests {
		i := &held{desc: desc, parts: s.parts(desc)}
		if all := names(desc); len(all) > 0 {
			i.name = all[0]
		}
		s.need(c, i)
		if f := c.files[s.layout.blob(desc.Digest)]; f != nil {
			i.used = f.used
		}
		c.images = append(c.images, i)
	}
	return c, nil
}

// listing is the files alone.
func (s *Store) listing(ctx context.Context) (*contents, error) {
	c := &contents{files: map[string]*file{}}
	for _, dir := range []struct {
		kind  Kind
		path  string
		depth int // directories in it whose files count
	}{
		{KindBlob, filepath.Join(s.dir, ocispec.ImageBlobsDir), 1},
		{KindLayer, s.side("layers"), 1},
		{KindDerived, s.side("derived"), 1},
		{KindPartial, s.side("partial"), 0},
	} {
		if err := c.list(ctx, dir.kind, dir.path, dir.depth); err != nil {
			return nil, fmt.Errorf("looking through the image store %s: %w", s.dir, err)
		}
	}
	return c, c.strays(s.dir)
}

// list adds the files of dir, and of directories depth levels down.
func (c *contents) list(ctx context.Context, kind Kind, dir string, depth int) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(dir, e.Name())
		if e.IsDir() && depth > 0 {
			if err := c.list(ctx, kind, path, depth-1); err != nil {
				return err
			}
			continue
		}
		if err := c.add(kind, path); err != nil {
			return err
		}
	}
	return err
}

// add adds one file. One that is not finished is of kind KindPartial, wherever it is.
func (c *contents) add(kind Kind, path string) error {
	if name := filepath.Base(path); strings.HasPrefix(name, ".") || strings.Contains(name, ".part") {
		kind = KindPartial
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a build's own
	}
	if err != nil {
		return err
	}
	f := &file{kind: kind, path: path, size: info.Size(), used: lastUse(info)}
	if kind == KindPartial {
		f.used = info.ModTime()
	}
	if info.IsDir() {
		if f.size, err = treeSize(path); err != nil {
			return err
		}
	}
	c.files[path] = f
	return nil
}

// strays adds what an unfinished write of index.json left.
func (c *contents) strays(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if err := c.add(KindPartial, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// treeSize is the size of all files below dir.
func treeSize(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && !d.IsDir() {
			info, err = d.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // an import that goes on, or just ended
		case info != nil:
			n += info.Size()
		}
		return err
	})
	return n, err
}

// need notes what is needed of i.
func (s *Store) need(c *contents, i *held) {
	for _, b := range i.blobs {
		i.take(c, s.layout.blob(b.Digest))
	}
	for _, img := range i.whole {
		ids, _ := img.diffIDs() // or else it would not be whole
		for _, id := range ids {
			i.take(c, s.layerPath(id))
		}
	}
}

// take notes that the image needs the file path, if there is one.
func (i *held) take(c *contents, path string) {
	if f := c.files[path]; f != nil && !slices.Contains(i.files, f) {
		f.refs++
		i.files = append(i.files, f)
	}
}
