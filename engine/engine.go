// Package engine makes artifacts from a manifest: in this process, or through a
// BuildKit. Both give the same bytes.
package engine

import (
	"context"

	"github.com/moby/buildkit/client"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
)

// Request is one build.
type Request struct {
	Files       []*source.File    // the manifest: each is merged over those before it
	Args        map[string]string // values of its arguments
	Dir         string            // where relative paths begin; the directory of the first file
	Platform    string            // "linux/amd64"
	Formats     []formats.Format
	Base        string // base name of the files
	Out         string // directory for the files; made if there is none
	Compression string // of the initrd; "" is the default
	Size        int64  // least size of a disk, in bytes; 0 is as large as its content
	Epoch       int64  // seconds since 1970, the time of every file

	// Status is told of the progress, in BuildKit's terms; nil is not.
	Status func(*client.SolveStatus)
}

// Engine makes artifacts. Errors of a manifest are a [source.Errors].
type Engine interface {
	// Build makes the files of r, flushes them to their disk, and returns their
	// names below r.Out. When it fails, no file of r has been touched.
	Build(ctx context.Context, r Request) ([]string, error)
}

var (
	_ Engine = (*Local)(nil)
	_ Engine = (*BuildKit)(nil)
)

// Manifest reads and checks the manifest of r.
func (r *Request) Manifest() (*manifest.Manifest, error) { return r.manifest(r.Platform) }

func (r *Request) manifest(platform string) (*manifest.Manifest, error) {
	return manifest.Parse(manifest.Options{Args: r.Args, Platform: platform, Load: hostFiles{r.Dir}.load}, r.Files...)
}

// parse is Manifest, if it can be made into the formats of r.
func (r *Request) parse() (*manifest.Manifest, error) {
	m, err := r.Manifest()
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
