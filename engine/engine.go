// Package engine makes artifacts from a manifest: in this process, or through a
// BuildKit. Both give the same bytes.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
)

// Request is one build.
type Request struct {
	File        *source.File
	Dir         string // where "source:" paths begin; the directory of the manifest
	Platform    string // "linux/amd64"
	Formats     []formats.Format
	Base        string // base name of the files
	Out         string // directory for the files; made if there is none
	Compression string // of the initrd; "" is the default
	Epoch       int64  // seconds since 1970, the time of every file

	// Status is told of the progress, in BuildKit's terms; nil is not.
	Status func(*client.SolveStatus)
}

// Engine makes artifacts. Errors of a manifest are a [source.Errors].
type Engine interface {
	// Build makes the files of r and returns their names below r.Out. When it
	// fails, no file of r has been touched.
	Build(ctx context.Context, r Request) ([]string, error)
}

var (
	_ Engine = (*Local)(nil)
	_ Engine = (*BuildKit)(nil)
)

// parse reads and checks the manifest of r.
func (r *Request) parse() (*manifest.Manifest, error) {
	m, err := manifest.Parse(r.File)
	if err != nil {
		return nil, err
	}
	for _, f := range r.Formats {
		if err := f.Check(arch(r.Platform), m.Kernel != nil); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// staged makes files in a directory beside where they belong, and puts them
// there when all are whole. make fills the directory.
func (r *Request) staged(make func(dir string) error) ([]string, error) {
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return nil, fmt.Errorf("making the output directory: %w", err)
	}
	dir, err := os.MkdirTemp(r.Out, ".lkx-")
	if err != nil {
		return nil, fmt.Errorf("writing to the output directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := make(dir); err != nil {
		return nil, err
	}
	var names []string
	for _, f := range r.Formats {
		names = append(names, f.Files(r.Base)...)
	}
	for _, name := range names {
		if err := flush(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(r.Out, name)); err != nil {
			return nil, fmt.Errorf("putting %s in place: %w", name, err)
		}
	}
	return names, flush(r.Out)
}

// flush waits until a file or directory is on its disk.
func flush(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.Close()
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return f.Close()
}

// hostFiles are the files that "source:" names on this machine: relative to a
// directory, absolute, or below the home directory ("~/").
type hostFiles struct{ dir string }

func (h hostFiles) resolve(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the home directory for %s: %w", name, err)
		}
		return filepath.Join(home, rest), nil
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	return filepath.Join(h.dir, name), nil
}

// Open implements [fs.FS], except that any path is valid.
func (h hostFiles) Open(name string) (fs.File, error) {
	p, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	return os.Open(p)
}

// hostContext is hostFiles as a plan asks for it.
type hostContext struct{ hostFiles }

// Stat implements [plan.Context].
func (h hostContext) Stat(_ context.Context, name string) (bool, error) {
	p, err := h.resolve(name)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(p)
	if err != nil {
		return false, err
	}
	return info.Mode().IsRegular(), nil
}
