// Package frontend serves a build over BuildKit's gateway: it reads options,
// platforms and the manifest, and answers with the result of llbgen's graph.
package frontend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/formats"
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

// Options is what a request is answered with.
type Options struct {
	// Tools gives the program for exec ops.
	Tools Toolchain
	// Parse, if it is set, gives the manifest for a platform ("linux/amd64")
	// instead of the file that the request names.
	Parse func(platform string) (*manifest.Manifest, error)
	// Base, if it is set, is the base name of the files.
	Base string
}

// Build answers one request.
func Build(ctx context.Context, c client.Client, with Options) (*client.Result, error) {
	bc, err := dockerui.NewClient(c)
	if err != nil {
		return nil, err
	}
	o, err := parseOptions(bc)
	if err != nil {
		return nil, err
	}
	b := &build{bc: bc, c: c, options: o, tools: with.Tools, parse: with.Parse, name: with.Base, src: &sources{maps: map[*source.File]*dockerui.Source{}}}
	if b.parse == nil {
		if b.src, err = readSources(ctx, c, bc, o); err != nil {
			return nil, err
		}
		if res, done, err := bc.HandleSubrequest(ctx, b.requests()); done || err != nil {
			return res, err
		}
		b.parse = func(platform string) (*manifest.Manifest, error) { return b.src.parse(ctx, platform) }
	}
	rb, err := bc.Build(ctx, b.platform)
	if err != nil {
		return nil, err
	}
	return rb.Finalize()
}

// build is one request for one manifest.
type build struct {
	bc      *dockerui.Client
	c       client.Client
	options options
	src     *sources
	tools   Toolchain
	parse   func(platform string) (*manifest.Manifest, error)
	name    string // base name of the files; "" is as the request says
}

// builder is the platform that the program runs on.
func (b *build) builder() ocispec.Platform { return b.bc.BuildPlatforms[0] }

// platform builds for one platform; nil is the builder's own.
func (b *build) platform(ctx context.Context, target *ocispec.Platform, index int) (*dockerui.BuildResult, error) {
	p := b.builder()
	if target != nil {
		p = *target
	}
	p = platforms.Normalize(p)
	m, err := b.parse(platforms.Format(p))
	if err != nil {
		return nil, err
	}
	if index == 0 {
		b.src.warn(ctx, m.Warnings)
		b.src.warnFlat(ctx)
	}
	for _, f := range b.options.formats {
		if err := f.Check(p.Architecture, m.Kernel != nil); err != nil {
			return nil, err
		}
	}
	r := newResolver(b, m, p)
	pl, err := plan.New(ctx, m, plan.Options{Platform: platforms.Format(p), Bootcode: formats.NeedsOf(b.options.formats, m.Root).Code}, r, newBuildContext(ctx, b, m))
	if err != nil {
		return nil, b.src.located(err)
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
	builder := b.builder()
	caps := b.bc.BuildOpts().LLBCaps
	o := llbgen.Options{
		Tool:        llbgen.Tool(tool, path, builder),
		Image:       r.state,
		Blob:        r.blob,
		Context:     func(paths []string) llb.State { return b.contextState(ctx, paths) },
		Platform:    builder,
		Source:      b.src.sourceMap,
		NoCache:     b.noCache,
		Merge:       caps.Supports(pb.CapMergeOp) == nil && !b.options.copies,
		Epoch:       b.options.epoch,
		Compression: b.options.compression,
	}
	if b.options.rootfs {
		return llbgen.RootFS(pl, o), nil
	}
	need := formats.NeedsOf(b.options.formats, r.m.Root)
	a := llbgen.Artifacts{
		Base: b.base(r.m), Arch: p.Architecture, Size: b.options.size,
		Kernel: need.Kernel, Initrd: need.Initrd, Root: need.Root, Disks: need.Disks, Disk: formats.DiskOf(r.m.Root),
	}
	for _, f := range b.options.formats {
		a.Formats = append(a.Formats, f.Name)
	}
	return llbgen.Export(pl, a, o), nil
}

// base is the base name of the files: as the caller says, or build argument
// NAME, unless the manifest has an argument of that name for itself.
func (b *build) base(m *manifest.Manifest) string {
	if b.name != "" {
		return b.name
	}
	own := slices.ContainsFunc(m.Args, func(a manifest.Arg) bool { return a.Name == ArgName })
	if name := b.options.spare[ArgName]; name != "" && !own {
		return name
	}
	return b.options.file
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
	def, err := st.Marshal(ctx, llb.WithCaps(b.bc.BuildOpts().LLBCaps), llb.Platform(b.builder()))
	if err != nil {
		return nil, fmt.Errorf("writing the graph: %w", err)
	}
	res, err := b.c.Solve(ctx, client.SolveRequest{Definition: def.ToPB(), CacheImports: b.bc.CacheImports})
	if err != nil {
		return nil, err
	}
	return res.SingleRef()
}
