package frontend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
)

// resolver pins images through the gateway. Named contexts replace images of
// their names, and source policies rewrite what is fetched.
type resolver struct {
	b        *build
	m        *manifest.Manifest
	platform ocispec.Platform

	mu     sync.Mutex
	states map[string]llb.State // by the pinned reference
}

func newResolver(b *build, m *manifest.Manifest, p ocispec.Platform) *resolver {
	return &resolver{b: b, m: m, platform: p, states: map[string]llb.State{}}
}

// Resolve implements [plan.Resolver].
func (r *resolver) Resolve(ctx context.Context, ref, _ string) (plan.Image, error) {
	img, st, err := r.named(ctx, ref)
	if err == nil && st == nil {
		img, st, err = r.remote(ctx, ref)
	}
	if err != nil {
		return plan.Image{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[img.Pinned()] = *st
	return img, nil
}

// named finds ref among the named contexts; the state is nil if it is none.
func (r *resolver) named(ctx context.Context, ref string) (plan.Image, *llb.State, error) {
	var dgst digest.Digest
	nc, err := r.b.bc.NamedContext(ref, dockerui.ContextOpt{
		Platform: &r.platform, ResolveMode: r.b.bc.ImageResolveMode.String(), CaptureDigest: &dgst, NoDockerignore: true,
	})
	if err != nil || nc == nil {
		return plan.Image{}, nil, err
	}
	st, conf, err := nc.Load(ctx)
	if err != nil || st == nil {
		return plan.Image{}, nil, err
	}
	img := plan.Image{Ref: ref, Digest: dgst.String(), Config: []byte("{}")}
	if conf != nil {
		if img.Config, err = json.Marshal(conf); err != nil {
			return plan.Image{}, nil, fmt.Errorf("reading the config of context %s: %w", ref, err)
		}
	}
	return img, st, nil
}

// remote finds ref in a registry.
func (r *resolver) remote(ctx context.Context, ref string) (plan.Image, *llb.State, error) {
	rewritten, dgst, conf, err := r.b.c.ResolveImageConfig(ctx, ref, sourceresolver.Opt{
		LogName:  "resolve image " + ref,
		ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &r.platform, ResolveMode: r.b.bc.ImageResolveMode.String()},
	})
	if err != nil {
		return plan.Image{}, nil, fmt.Errorf("resolving %s: %w", ref, err)
	}
	img := plan.Image{Ref: ref, Digest: dgst.String(), Config: conf}
	name, _, _ := strings.Cut(rewritten, "@")
	st := llb.Image(name+"@"+dgst.String(), llb.Platform(r.platform), r.b.bc.ImageResolveMode, llb.WithCustomName("image "+ref), r.location(ref))
	return img, &st, nil
}

// location points errors of pulling an image at the first line that asks for it.
func (r *resolver) location(ref string) llb.ConstraintsOpt {
	for path, asked := range r.m.Images() {
		if asked.Name == ref {
			return r.at(path)
		}
	}
	return llb.WithDescription(nil)
}

// locationOfURL points errors of fetching a URL at the first line that asks for it.
func (r *resolver) locationOfURL(url string) llb.ConstraintsOpt {
	for i := range r.m.Files {
		if r.m.Files[i].Source == url {
			return r.at(fmt.Sprintf("files[%d].source", i))
		}
	}
	return llb.WithDescription(nil)
}

func (r *resolver) at(path string) llb.ConstraintsOpt {
	e := r.m.ErrorAt(path, "")
	if !e.Pos.IsValid() {
		return llb.WithDescription(nil)
	}
	return r.b.src.sourceMap(e.Pos.File).Location([]*pb.Range{rangeOf(e)})
}

// Pin implements [plan.Resolver].
func (r *resolver) Pin(ctx context.Context, ref string) (plan.Image, error) {
	nc, err := r.b.bc.NamedContext(ref, dockerui.ContextOpt{Platform: &r.platform, NoDockerignore: true})
	if err == nil && nc != nil {
		err = errors.New("a volume with format oci needs an image in a registry: a named context has no manifests")
	}
	if err != nil {
		return plan.Image{}, err
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return plan.Image{}, err
	}
	if d, ok := named.(reference.Digested); ok {
		return plan.Image{Ref: ref, Digest: d.Digest().String()}, nil
	}
	// BuildKit tells the digest of an index only with the config for a platform
	// that it has.
	var first error
	for _, p := range append([]ocispec.Platform{r.platform}, common...) {
		_, dgst, _, err := r.b.c.ResolveImageConfig(ctx, ref, sourceresolver.Opt{
			LogName:  "resolve image " + ref,
			ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &p, ResolveMode: r.b.bc.ImageResolveMode.String()},
		})
		if err == nil {
			return plan.Image{Ref: ref, Digest: dgst.String()}, nil
		}
		if first == nil {
			first = err
		}
		if !strings.Contains(err.Error(), "no match for platform") {
			break
		}
	}
	return plan.Image{}, fmt.Errorf("resolving %s: %w", ref, first)
}

// common are the platforms that images are made for.
var common = []ocispec.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64"},
	{OS: "linux", Architecture: "arm", Variant: "v7"},
	{OS: "linux", Architecture: "riscv64"},
	{OS: "linux", Architecture: "ppc64le"},
	{OS: "linux", Architecture: "s390x"},
}

// Manifest implements [plan.Resolver].
func (r *resolver) Manifest(ctx context.Context, img plan.Image, d ocispec.Descriptor) ([]byte, error) {
	ref, err := r.b.solve(ctx, r.blob(plan.Blob{Digest: d.Digest.String(), Image: &img}))
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s of %s through BuildKit, which some registries refuse (lkx build asks by itself): %w", d.Digest, img.Ref, err)
	}
	return ref.ReadFile(ctx, client.ReadRequest{Filename: plan.BlobFile})
}

// blob is a state that holds b as plan.BlobFile.
func (r *resolver) blob(b plan.Blob) llb.State {
	if b.Image == nil {
		return llb.HTTP(b.URL, llb.Checksum(digest.Digest(b.Digest)), llb.Filename(plan.BlobFile), llb.WithCustomName("fetch "+b.URL), r.locationOfURL(b.URL))
	}
	named, err := reference.ParseNormalizedNamed(b.Image.Ref)
	if err != nil {
		return llb.Scratch().Async(func(context.Context, llb.State, *llb.Constraints) (llb.State, error) { return llb.State{}, err })
	}
	name := reference.TrimNamed(named).String()
	return llb.ImageBlob(name+"@"+b.Digest, llb.Filename(plan.BlobFile), llb.WithCustomName("blob "+b.Digest+" of "+b.Image.Ref), r.location(b.Image.Ref))
}

// state is the root file system of an image that was resolved.
func (r *resolver) state(img plan.Image) llb.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[img.Pinned()]
}

// buildContext looks for "source:" files where the client has them. All of
// them are asked for at once, and only them.
type buildContext struct {
	load func() (client.Reference, error)
}

func newBuildContext(ctx context.Context, b *build, m *manifest.Manifest) *buildContext {
	return &buildContext{load: sync.OnceValues(func() (client.Reference, error) {
		var paths []string
		for _, f := range m.Files {
			if f.Source != "" && !f.IsURL() {
				paths = append(paths, f.Source)
			}
		}
		return b.solve(ctx, b.contextState(ctx, paths))
	})}
}

// Stat implements [plan.Context].
func (c *buildContext) Stat(ctx context.Context, name string) (fs.FileMode, error) {
	ref, err := c.load()
	if err != nil {
		return 0, err
	}
	st, err := ref.StatFile(ctx, client.StatRequest{Path: name})
	if err != nil {
		if strings.Contains(err.Error(), "no such file") || errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		return 0, err
	}
	return fs.FileMode(st.Mode).Type(), nil
}

// contextState is the build context, of which only paths are wanted.
func (b *build) contextState(ctx context.Context, paths []string) llb.State {
	// What the manifest names is wanted, whatever .dockerignore says.
	st, err := b.bc.MainContext(ctx, llb.FollowPaths(paths), llb.ExcludePatterns(nil), llb.WithCustomName("[internal] load files"))
	if err != nil || st == nil {
		return llb.Scratch().Async(func(context.Context, llb.State, *llb.Constraints) (llb.State, error) {
			return llb.State{}, fmt.Errorf("loading the build context: %w", err)
		})
	}
	return *st
}
