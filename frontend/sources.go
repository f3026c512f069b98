package frontend

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
)

// sources are the texts of a manifest: the file that was named, and what it
// includes, from where the client keeps its Dockerfiles.
type sources struct {
	c       client.Client
	options options

	mu     sync.Mutex
	main   *source.File
	byName map[string]*source.File
	maps   map[*source.File]*dockerui.Source
}

// readSources reads the file that the request names.
func readSources(ctx context.Context, c client.Client, bc *dockerui.Client, o options) (*sources, error) {
	src, err := bc.ReadEntrypoint(ctx, "YAML")
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	main := &source.File{Name: src.Filename, Data: src.Data}
	return &sources{
		c: c, options: o, main: main, byName: map[string]*source.File{},
		maps: map[*source.File]*dockerui.Source{main: src},
	}, nil
}

// manifest reads the manifest for a platform ("linux/amd64").
func (s *sources) manifest(ctx context.Context, platform string) (*manifest.Manifest, error) {
	return manifest.Parse(manifest.Options{
		Args: s.options.args, Spare: s.options.spare, Known: buildOptions, Platform: platform,
		Load: func(name string) (*source.File, error) { return s.load(ctx, name) },
	}, s.main)
}

// parse is manifest, with errors as BuildKit's clients draw them.
func (s *sources) parse(ctx context.Context, platform string) (*manifest.Manifest, error) {
	m, err := s.manifest(ctx, platform)
	if err != nil {
		return nil, s.located(err)
	}
	return m, nil
}

// load reads a file that the manifest includes.
func (s *sources) load(ctx context.Context, name string) (*source.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.byName[name]; f != nil {
		return f, nil
	}
	bc, err := dockerui.NewClient(otherFile{s.c, path.Join(path.Dir(s.main.Name), name)})
	if err != nil {
		return nil, err
	}
	src, err := bc.ReadEntrypoint(ctx, "YAML")
	if err != nil {
		if strings.Contains(err.Error(), "no such file") {
			return nil, fmt.Errorf("there is no file %q", name)
		}
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	f := &source.File{Name: src.Filename, Dir: dirOf(name), Data: src.Data}
	s.byName[name], s.maps[f] = f, src
	return f, nil
}

// dirOf is where relative paths in the file name begin.
func dirOf(name string) string {
	if d := path.Dir(name); d != "." {
		return d
	}
	return ""
}

// otherFile is a client whose request names another file.
type otherFile struct {
	client.Client
	name string
}

// BuildOpts implements [client.Client].
func (c otherFile) BuildOpts() client.BuildOpts {
	o := c.Client.BuildOpts()
	o.Opts = maps.Clone(o.Opts)
	o.Opts["filename"] = c.name
	return o
}

// sourceMap is the map of f for BuildKit's errors.
func (s *sources) sourceMap(f *source.File) *llb.SourceMap {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maps[f] == nil {
		s.maps[f] = &dockerui.Source{SourceMap: llb.NewSourceMap(nil, f.Name, "YAML", f.Data)}
	}
	return s.maps[f].SourceMap
}
