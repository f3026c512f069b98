// Package frontend serves a build over BuildKit's gateway: it reads options,
// platforms and the manifest, and answers with the result of llbgen's graph.
package frontend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/llbgen"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
)

// Toolchain gives a state that holds the program for exec ops, and its path there.
type Toolchain func(ctx context.Context, c client.Client) (st llb.State, path string, err error)

// Self is the toolchain of a frontend image: the image itself, with the program
// that asks at path.
func Self(path string) Toolchain {
	return func(_ context.Context, c client.Client) (llb.State, string, error) {
		own, ok := c.(interface{ CurrentFrontend() (*llb.State, error) })
		if !ok {
			return llb.State{}, "", errors.New("this BuildKit does not tell a frontend its image: 0.11 or later is needed")
		}
		st, err := own.CurrentFrontend()
		if err != nil {
			return llb.State{}, "", fmt.Errorf("finding the frontend's image: %w", err)
		}
		if st == nil {
			return llb.State{}, "", errors.New("this frontend does not run from an image")
		}
		return *st, path, nil
	}
}

// Build answers one request.
func Build(ctx context.Context, c client.Client, tools Toolchain) (*client.Result, error) {
	bc, err := dockerui.NewClient(c)
	if err != nil {
		return nil, err
	}
	o, err := parseOptions(bc)
	if err != nil {
		return nil, err
	}
	src, err := bc.ReadEntrypoint(ctx, "YAML")
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if res, done, err := bc.HandleSubrequest(ctx, requests(src, o)); done || err != nil {
		return res, err
	}
	m, err := manifest.Parse(&source.File{Name: src.Filename, Data: src.Data})
	if err != nil {
		return nil, located(err, src.SourceMap)
	}
	warn(ctx, src, m.Warnings)
	b := &build{bc: bc, c: c, options: o, src: src, m: m, tools: tools}
	rb, err := bc.Build(ctx, b.platform)
	if err != nil {
		return nil, located(err, src.SourceMap)
	}
	return rb.Finalize()
}

// build is one request for one manifest.
type build struct {
	bc      *dockerui.Client
	c       client.Client
	options options
	src     *dockerui.Source
	m       *manifest.Manifest
	tools   Toolchain
}

// platform builds for one platform; nil is the builder's own.
func (b *build) platform(ctx context.Context, target *ocispec.Platform, _ int) (*dockerui.BuildResult, error) {
	p := b.bc.BuildPlatforms[0]
	if target != nil {
		p = *target
	}
	p = platforms.Normalize(p)
	for _, f := range b.options.formats {
		if err := f.Check(p.Architecture, b.m.Kernel != nil); err != nil {
			return nil, err
		}
	}
	r := newResolver(b, p)
	pl, err := plan.New(ctx, b.m, platforms.Format(p), r, newBuildContext(ctx, b))
	if err != nil {
		return nil, err
	}
	st, err := b.graph(ctx, pl, p, r)
	if err != nil {
		return nil, err
	}
	ref, err := b.solve(ctx, st)
	if err != nil {
		return nil, err
	}
	epoch := b.options.epoch
	img := &dockerspec.DockerOCIImage{Image: ocispec.Image{Platform: p}}
	if created := time.Unix(epoch, 0).UTC(); b.options.rootfs {
		img.Created = &created
		img.RootFS.Type = "layers"
		img.Config.Entrypoint = []string{"/init"}
	}
	img.Config.Labels = b.bc.Labels
	return &dockerui.BuildResult{Reference: ref, Image: img}, nil
}

// graph is the LLB of what was asked for.
func (b *build) graph(ctx context.Context, pl *plan.Plan, p ocispec.Platform, r *resolver) (llb.State, error) {
	tool, path, err := b.tools(ctx, b.c)
	if err != nil {
		return llb.State{}, err
	}
	builder := b.bc.BuildPlatforms[0]
	caps := b.bc.BuildOpts().LLBCaps
	o := llbgen.Options{
		Tool:        llbgen.Tool(tool, path, builder),
		Image:       r.state,
		Context:     func(paths []string) llb.State { return b.contextState(ctx, paths) },
		Platform:    builder,
		Source:      b.src.SourceMap,
		NoCache:     b.noCache,
		Merge:       caps.Supports(pb.CapMergeOp) == nil && !b.options.copies,
		Epoch:       b.options.epoch,
		Compression: b.options.compression,
	}
	if b.options.rootfs {
		return llbgen.RootFS(pl, o), nil
	}
	a := llbgen.Artifacts{Base: b.options.base, Arch: p.Architecture}
	for _, f := range b.options.formats {
		a.Formats = append(a.Formats, f.Name)
		a.Kernel, a.Initrd, a.Root = a.Kernel || f.Kernel, a.Initrd || f.Initrd, a.Root || f.Root
	}
	return llbgen.Export(pl, a, o), nil
}

// noCache tells whether --no-cache, or --no-cache-filter with one of names, was given.
func (b *build) noCache(names ...string) bool {
	for _, n := range names {
		if b.bc.IsNoCache(n) {
			return true
		}
	}
	return false
}

func (b *build) solve(ctx context.Context, st llb.State) (client.Reference, error) {
	def, err := st.Marshal(ctx, llb.WithCaps(b.bc.BuildOpts().LLBCaps), llb.Platform(b.bc.BuildPlatforms[0]))
	if err != nil {
		return nil, fmt.Errorf("writing the graph: %w", err)
	}
	res, err := b.c.Solve(ctx, client.SolveRequest{Definition: def.ToPB(), CacheImports: b.bc.CacheImports})
	if err != nil {
		return nil, err
	}
	return res.SingleRef()
}
