// Package images keeps images in an OCI image layout (image-spec,
// image-layout.md) and fills it from registries and other layouts.
//
// Blobs are kept as they were pulled, in blobs/, for any tool to read; the
// uncompressed layers that builds read from are beside them in lkx/layers, by
// diff id. Both are verified when they are written, under a temporary name, and
// are complete once they have their own; they are not hashed again when read.
// Any number of processes may use one store.
package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Options are where images come from.
type Options struct {
	// Layouts are OCI image layouts, read only, that are searched before any registry.
	Layouts []string
	// Mirrors are asked before a registry is: by its host, URLs such as
	// "http://localhost:5000" or hosts. They are asked in order.
	Mirrors map[string][]string
	// Progress is told how pulls proceed; nil is not. It is called from several
	// goroutines.
	Progress func(Event)
}

// Event says how far one blob is.
type Event struct {
	Ref         string // the image it belongs to
	Digest      string
	Op          string // "pull" or "unpack"
	Done, Total int64  // bytes of the blob as pulled
	Finished    bool
}

// Store is an OCI image layout.
type Store struct {
	dir  string
	opts Options
	reg  *registries
}

// Directories of a store besides those of an OCI layout.
const (
	layersDir  = "lkx/layers"  // uncompressed layers, by the hex of their diff id
	partialDir = "lkx/partial" // interrupted pulls, by the hex of their digest
	locksDir   = "lkx/locks"
)

// Open opens the store in dir, which is made if there is none.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, opts: o, reg: newRegistries(o.Mirrors)}
	for _, d := range []string{"blobs/sha256", layersDir, partialDir, locksDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("opening the image store: %w", err)
		}
	}
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(name, layout); err != nil {
			return nil, fmt.Errorf("opening the image store: %w", err)
		}
	}
	for _, l := range o.Layouts {
		if _, err := readIndex(l); err != nil {
			return nil, fmt.Errorf("%s is not an OCI image layout: %w", l, err)
		}
	}
	return s, nil
}

// blobPath is where a layout keeps a blob.
func blobPath(layout string, d digest.Digest) string {
	return filepath.Join(layout, "blobs", d.Algorithm().String(), d.Encoded())
}

func readIndex(layout string) (*ocispec.Index, error) {
	text, err := os.ReadFile(filepath.Join(layout, ocispec.ImageIndexFile))
	if err != nil {
		return nil, err
	}
	var idx ocispec.Index
	if err := json.Unmarshal(text, &idx); err != nil {
		return nil, fmt.Errorf("reading %s: %w", ocispec.ImageIndexFile, err)
	}
	return &idx, nil
}

// remember gives the image desc the name ref in the store's index.
func (s *Store) remember(ctx context.Context, ref string, desc ocispec.Descriptor) error {
	unlock, err := s.lock(ctx, "index")
	if err != nil {
		return err
	}
	defer unlock()
	idx, err := readIndex(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		idx = &ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	} else if err != nil {
		return err
	}
	entry := ocispec.Descriptor{
		MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
		Annotations: map[string]string{ocispec.AnnotationRefName: ref, annotationName: ref},
	}
	kept := []ocispec.Descriptor{}
	for _, m := range idx.Manifests {
		if m.Annotations[ocispec.AnnotationRefName] != ref {
			kept = append(kept, m)
		} else if m.Digest == desc.Digest {
			return nil
		}
	}
	idx.Manifests = append(kept, entry)
	text, err := json.Marshal(idx)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.dir, ocispec.ImageIndexFile), text)
}

// annotationName is where containerd and BuildKit keep an image's full name.
const annotationName = "io.containerd.image.name"

// writeFile writes a file so that it is whole or not there.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return commit(f, name)
}

// commit gives a temporary file its name once its bytes are on the disk.
func commit(f *os.File, name string) error {
	err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}

// lockWait is how often a lock that another build holds is tried.
const lockWait = 50 * time.Millisecond

// lock holds name against other builds, in this process or another.
func (s *Store) lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, locksDir, name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockWait):
		}
	}
}
