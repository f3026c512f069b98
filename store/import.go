package store

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportArchive takes the images of an archive into the store: a tar archive,
// perhaps compressed, of an OCI image layout, or one that "docker save" wrote.
// One image without a name gets the name given; "" is none. Every blob is
// verified, and no image has its name before all are whole. What it gives are names,
// digests and platforms.
func (s *Store) ImportArchive(ctx context.Context, r io.Reader, name string) ([]ImageUsage, error) {
	if err := os.MkdirAll(s.side("partial"), 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.side("partial"), "import-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := s.unarchive(ctx, r, dir); err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	return s.adopt(ctx, layout{dir}, name, func(from string, d ocispec.Descriptor) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		if err := s.check(ctx, f, io.Discard, d); err != nil {
			return errors.Join(err, f.Close())
		}
		return settle(f, s.layout.blob(d.Digest))
	})
}

// ImportLayout takes the images of an OCI image layout into the store, as
// ImportArchive does. The layout is only read.
func (s *Store) ImportLayout(ctx context.Context, dir, name string) ([]ImageUsage, error) {
	if err := os.MkdirAll(s.side("partial"), 0o755); err != nil {
		return nil, err
	}
	return s.adopt(ctx, layout{dir}, name, func(from string, d ocispec.Descriptor) error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.CreateTemp(s.side("partial"), "import-")
		if err != nil {
			return err
		}
		defer os.Remove(out.Name()) // nothing is there when all went well
		if err = s.check(ctx, in, out, d); err == nil {
			err = out.Chmod(0o644)
		}
		if err != nil {
			return errors.Join(err, out.Close())
		}
		return settle(out, s.layout.blob(d.Digest))
	})
}

// check copies a blob and verifies it.
func (s *Store) check(ctx context.Context, in *os.File, out io.Writer, d ocispec.Descriptor) error {
	m := &meter{s: s, now: Event{Ref: kind(d.MediaType), Digest: d.Digest.String(), Op: "import", Total: d.Size}}
	sum := d.Digest.Algorithm().Hash()
	if _, err := io.Copy(io.MultiWriter(out, sum, m), until{ctx, in}); err != nil {
		return err
	}
	if got := digest.NewDigest(d.Digest.Algorithm(), sum); got != d.Digest {
		return fmt.Errorf("%s: %w", in.Name(), mismatch(d, got))
	}
	m.done()
	return nil
}

// adopt takes all images of another layout. Take gets one blob's file from there.
func (s *Store) adopt(ctx context.Context, from layout, name string, take func(string, ocispec.Descriptor) error) ([]ImageUsage, error) {
	index, err := from.index()
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) == 0 {
		return nil, errors.New("there is no image in it")
	}
	var entries, blobs []ocispec.Descriptor
	for _, desc := range index.Manifests {
		own := names(desc)
		if len(own) == 0 {
			if name == "" || len(index.Manifests) > 1 {
				return nil, fmt.Errorf("image %s has no name: give it one, if it is the only one", desc.Digest)
			}
			full, err := parse(name)
			if err != nil {
				return nil, err
			}
			own = []string{full.String()}
		}
		needs, err := from.needs(desc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", own[0], err)
		}
		entries, blobs = append(entries, entry(own[0], desc)), append(blobs, needs...)
	}
	for _, d := range blobs {
		if err := s.takeBlob(ctx, from, d, take); err != nil {
			return nil, err
		}
	}
	unlock, err := s.lock(ctx, indexLock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.setNames(entries...); err != nil {
		return nil, err
	}
	var out []ImageUsage
	for _, e := range entries {
		i := held{name: names(e)[0], desc: e, parts: s.parts(e)}
		out = append(out, i.usage())
	}
	return out, nil
}

// needs are the blobs of an image, for all platforms for which it is whole.
func (l layout) needs(desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	p := l.parts(desc)
	if len(p.whole) == 0 {
		return nil, p.lack()
	}
	all := p.indexes
	for _, img := range p.whole {
		all = append(all, img.needs()...)
	}
	return all, nil
}

// takeBlob takes one blob, unless it is here.
func (s *Store) takeBlob(ctx context.Context, from layout, d ocispec.Descriptor, take func(string, ocispec.Descriptor) error) error {
	unlock, err := s.lock(ctx, "blob-"+d.Digest.Encoded())
	if err != nil {
		return err
	}
	defer unlock()
	if s.has(d) {
		return nil
	}
	return take(from.blob(d.Digest), d)
}

// unarchive makes a layout in dir of an archive.
func (s *Store) unarchive(ctx context.Context, r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	plain, w := io.Pipe()
	defer plain.Close() // ends the other side, should this one fail
	go func() {
		_, err := expand(w, until{ctx, r})
		w.CloseWithError(err)
	}()
	links, err := untar(plain, root)
	if err != nil {
		return err
	}
	if _, err := root.Stat(ocispec.ImageIndexFile); err == nil {
		return nil
	}
	if _, err := root.Stat(dockerManifest); err != nil {
		return fmt.Errorf("it has neither %s, as OCI image layouts do, nor docker's %s", ocispec.ImageIndexFile, dockerManifest)
	}
	return fromDocker(root, links)
}

// untar writes the files of an archive. It makes no links, but tells where they
// lead: archives of docker's have some for layers that occur twice.
func untar(r io.Reader, root *os.Root) (links map[string]string, err error) {
	links = map[string]string{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// What follows the archive's end must have come, too.
			_, err := io.Copy(io.Discard, r)
			return links, err
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeSymlink:
			links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			links[name] = path.Clean(h.Linkname)
		case tar.TypeReg:
			if err := put(root, name, t); err != nil {
				return nil, err
			}
		}
	}
}

// put writes one file, once.
func put(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is in it twice", name)
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// follow is the file that name is a link to, if it is one.
func follow(links map[string]string, name string) string {
	name = path.Clean(name)
	for range len(links) {
		to, ok := links[name]
		if !ok {
			break
		}
		name = to
	}
	return name
}
