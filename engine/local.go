package engine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/tree"
)

// Images keeps images.
type Images interface {
	plan.Resolver
	assemble.Fetcher
	assemble.Blobs
}

// Local builds in this process: no daemon, no rights, no other program.
type Local struct{ Images Images }

// Build implements [Engine].
func (l *Local) Build(ctx context.Context, r Request) ([]string, error) {
	m, err := r.parse()
	if err != nil {
		return nil, err
	}
	return r.staged(func(dir string) error {
		report := &reporter{to: r.Status}
		var p *plan.Plan
		err := report.vertex("resolve images", func() (err error) {
			p, err = r.plan(ctx, m, l.Images)
			return err
		})
		if err != nil {
			return err
		}
		b := &local{
			Request: r, root: m.Root, plan: p, report: report, dir: dir,
			sources: assemble.Sources{Files: hostFiles{r.Dir}, Blobs: l.Images},
		}
		images := &assemble.Layers{Fetcher: l.Images, Platform: r.Platform}
		defer images.Close()
		b.sources.Images = images
		return b.run(ctx)
	})
}

// Plan pins the manifest of r, as Build does.
func (l *Local) Plan(ctx context.Context, r Request) (*plan.Plan, error) {
	m, err := r.parse()
	if err != nil {
		return nil, err
	}
	return r.plan(ctx, m, l.Images)
}

func (r *Request) plan(ctx context.Context, m *manifest.Manifest, images Images) (*plan.Plan, error) {
	need := formats.NeedsOf(r.Formats, m.Root)
	return plan.New(ctx, m, plan.Options{Platform: r.Platform, Bootcode: need.Code}, images, hostContext{hostFiles{r.Dir}})
}

// local is one build.
type local struct {
	Request
	root    string // type of root that the manifest asks for
	plan    *plan.Plan
	sources assemble.Sources
	report  *reporter
	dir     string
}

func (b *local) run(ctx context.Context) error {
	in := formats.Input{Base: b.Base, Arch: arch(b.Platform), Size: b.Size, Epoch: b.Epoch, Disk: formats.DiskOf(b.root)}
	need := formats.NeedsOf(b.Formats, b.root)
	trees, err := b.trees(ctx)
	if err != nil {
		return err
	}
	if b.plan.Boot != nil {
		if in.Boot, err = assemble.Step(ctx, b.plan.Boot, b.sources); err != nil {
			return b.at(b.plan.Boot, err)
		}
	}
	if b.plan.Code != nil {
		if in.Code, err = assemble.Step(ctx, b.plan.Code, b.sources); err != nil {
			return b.at(b.plan.Code, err)
		}
	}
	if need.Initrd {
		segments := filepath.Join(b.dir, "segments")
		if err := os.Mkdir(segments, 0o700); err != nil {
			return err
		}
		if in.Initrd, err = b.segments(ctx, trees, segments); err != nil {
			return err
		}
	}
	if need.Root || need.Disks != nil {
		if in.Root, err = tree.Merge(trees...); err != nil {
			return fmt.Errorf("merging the root file system: %w", err)
		}
	}
	if in.Disks, err = b.disks(ctx, need.Disks, in.Root); err != nil {
		return err
	}
	out, err := os.OpenRoot(b.dir)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, f := range b.Formats {
		if err := b.report.vertex("make "+f.Name, func() error { return f.Write(ctx, in, out) }); err != nil {
			return fmt.Errorf("making %s: %w", f.Name, err)
		}
	}
	return nil
}

// trees makes the tree of every step, side by side: most of the time goes into
// fetching and unpacking images.
func (b *local) trees(ctx context.Context) ([]tree.Tree, error) {
	out := make([]tree.Tree, len(b.plan.Steps))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i := range b.plan.Steps {
		s := &b.plan.Steps[i]
		g.Go(func() error {
			t, err := assemble.Step(ctx, s, b.sources)
			out[i] = t
			return b.at(s, err)
		})
	}
	return out, g.Wait()
}

// segments makes the segment of every step, one on each processor.
func (b *local) segments(ctx context.Context, trees []tree.Tree, dir string) ([]formats.Blob, error) {
	out := make([]formats.Blob, len(trees))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range trees {
		s := &b.plan.Steps[i]
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			name := filepath.Join(dir, fmt.Sprintf("%03d", i))
			err := b.report.vertex("segment "+s.Title, func() (err error) {
				out[i], err = b.segment(s, t, name)
				return err
			})
			return b.at(s, err)
		})
	}
	return out, g.Wait()
}

func (b *local) segment(s *plan.Step, t tree.Tree, name string) (formats.Blob, error) {
	f, err := os.Create(name)
	if err != nil {
		return formats.Blob{}, err
	}
	defer f.Close()
	buf := bufio.NewWriterSize(f, 1<<20)
	if err := formats.Segment(buf, s.Name, t, b.Compression, b.Epoch); err != nil {
		return formats.Blob{}, err
	}
	if err := buf.Flush(); err != nil {
		return formats.Blob{}, err
	}
	return formats.FileBlob(name)
}

// disks makes the root file systems of those types.
func (b *local) disks(ctx context.Context, kinds []string, t tree.Tree) (map[string]*formats.RootDisk, error) {
	out := map[string]*formats.RootDisk{}
	for _, kind := range kinds {
		dir := filepath.Join(b.dir, "root-"+kind)
		err := b.report.vertex("root file system: "+kind, func() (err error) {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				return err
			}
			defer root.Close()
			if err := formats.WriteRoot(ctx, root, kind, t, b.Compression, b.Epoch); err != nil {
				return err
			}
			out[kind], err = formats.ReadRoot(dir)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("making the root file system: %w", err)
		}
	}
	return out, nil
}
