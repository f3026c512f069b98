package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/slots"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/store"
	"github.com/lkx-os/lkx/tree"
)

// Images keeps images.
type Images interface {
	plan.Resolver
	assemble.Fetcher
	assemble.Blobs
}

// Cache keeps what was made, by what it was made from.
type Cache interface {
	// Derive is the file that make writes, or wrote earlier for the same key.
	Derive(ctx context.Context, kind, key string, make func(*store.Draft) error) (*store.Derived, error)
	// Lookup is such a file, nil if there is none.
	Lookup(kind, key string) (*store.Derived, error)
	// Recent are the keys of at most n of a kind, the last used first.
	Recent(kind string, n int) []string
}

// Local builds in this process: no daemon, no rights, no other program.
type Local struct {
	Images Images
	Cache  Cache
	// Program tells this program from others, which may make other bytes of the
	// same plan: what they keep in the cache is not taken for its own.
	Program string
}

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
		images := &assemble.Layers{Fetcher: l.Images, Platform: r.Platform}
		defer images.Close()
		b := &local{
			Request: r, Local: l, root: m.Root, plan: p, report: report, dir: dir, layers: images,
			sources: assemble.Sources{Images: images, Files: hostFiles{r.Dir}, Blobs: l.Images},
			workers: formats.NewWorkers(), making: slots.New(runtime.GOMAXPROCS(0)),
		}
		b.prepare()
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
	*Local
	root    string // type of root that the manifest asks for
	plan    *plan.Plan
	layers  *assemble.Layers
	sources assemble.Sources
	report  *reporter
	dir     string
	workers formats.Workers
	making  *slots.Slots // bounds how many segments are made at a time
	steps   []step
}

// step is a step of the plan, and what names it in the cache.
type step struct {
	*plan.Step
	key func() (string, error)
}

// prepare sets up the steps. Nothing is made yet: what is in the cache needs no
// tree, and no layer.
func (b *local) prepare() {
	for i := range b.plan.Steps {
		s := &b.plan.Steps[i]
		b.steps = append(b.steps, step{
			Step: s,
			key: sync.OnceValues(func() (string, error) {
				key, err := assemble.Key(s, b.sources.Files)
				return key, b.at(s, err)
			}),
		})
	}
}

func (b *local) run(ctx context.Context) error {
	in := formats.Input{Base: b.Base, Arch: arch(b.Platform), Size: b.Size, Epoch: b.Epoch, Disk: formats.DiskOf(b.root)}
	out, err := os.OpenRoot(b.dir)
	if err != nil {
		return err
	}
	defer out.Close()
	if in.Old, err = os.OpenRoot(b.Out); err != nil {
		return err
	}
	defer in.Old.Close()
	need := formats.NeedsOf(b.Formats, b.root)
	g, gctx := errgroup.WithContext(ctx)
	if b.plan.Boot != nil {
		first := in
		g.Go(func() (err error) {
			if in.Boot, err = b.step(gctx, b.plan.Boot); err != nil {
				return err
			}
			first.Boot = in.Boot
			return b.begin(gctx, first, out)
		})
	}
	if b.plan.Code != nil {
		g.Go(func() (err error) {
			in.Code, err = b.step(gctx, b.plan.Code)
			return err
		})
	}
	if need.Initrd {
		g.Go(func() error { return b.initrd(gctx, &in) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if in.Disks, err = b.disks(ctx, need.Disks); err != nil {
		return err
	}
	if need.Root {
		if in.Root, err = b.whole(ctx); err != nil {
			return err
		}
	}
	return b.write(ctx, in, out)
}

// step is the tree of one step.
func (b *local) step(ctx context.Context, s *plan.Step) (tree.Tree, error) {
	t, err := assemble.Step(ctx, s, b.sources)
	return t, b.at(s, err)
}

// initrd makes all segments.
func (b *local) initrd(ctx context.Context, in *formats.Input) error {
	all, err := b.joined()
	if err != nil {
		return err
	}
	in.Initrd = make([]formats.Blob, len(b.steps))
	g, ctx := errgroup.WithContext(ctx)
	for i := range b.steps {
		g.Go(func() (err error) {
			if in.Initrd[i], err = b.segment(ctx, i); err != nil {
				return err
			}
			return all.add(i, in.Initrd[i])
		})
	}
	err = g.Wait()
	var closed error
	in.Joined, closed = all.close()
	return errors.Join(err, closed)
}

// begin makes what of the artifacts needs no root file system, while that is made.
func (b *local) begin(ctx context.Context, in formats.Input, out *os.Root) error {
	for _, f := range b.Formats {
		if f.Begin == nil {
			continue
		}
		if err := f.Begin(ctx, in, out); err != nil {
			return fmt.Errorf("making %s: %w", f.Name, err)
		}
	}
	return nil
}

// write makes the rest of the artifacts.
func (b *local) write(ctx context.Context, in formats.Input, out *os.Root) error {
	for _, f := range b.Formats {
		if err := b.report.vertex("make "+f.Name, func() error { return f.Write(ctx, in, out) }); err != nil {
			return fmt.Errorf("making %s: %w", f.Name, err)
		}
	}
	return nil
}

// whole is the root file system. The steps' trees are made side by side: most of
// the time goes into fetching and unpacking images.
func (b *local) whole(ctx context.Context) (tree.Tree, error) {
	trees := make([]tree.Tree, len(b.steps))
	g, ctx := errgroup.WithContext(ctx)
	for i := range b.steps {
		g.Go(func() (err error) {
			trees[i], err = b.step(ctx, b.steps[i].Step)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	t, err := tree.Merge(trees...)
	if err != nil {
		return nil, fmt.Errorf("merging the root file system: %w", err)
	}
	return t, nil
}
