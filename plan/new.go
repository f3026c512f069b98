package plan

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/oci"
)

// Context is the build context: where "source:" paths of a manifest are.
type Context interface {
	// Stat tells whether name is a regular file; an error that is
	// fs.ErrNotExist says that there is none.
	Stat(ctx context.Context, name string) (regular bool, err error)
}

// parallel is how many images are resolved at a time.
const parallel = 8

// New makes the plan of m for platform ("linux/amd64"). Errors that the
// manifest can answer for are a [source.Errors] with every fault found.
func New(ctx context.Context, m *manifest.Manifest, platform string, r Resolver, files Context) (*Plan, error) {
	b := &builder{m: m, ids: allocate(m), copied: map[string]string{}, dirs: map[string]bool{}, files: files}
	if err := b.resolve(ctx, platform, r); err != nil {
		return nil, err
	}
	if k := m.Kernel; k != nil {
		b.kernel(k)
	}
	for i, ref := range m.Init {
		b.init(i, ref)
	}
	for _, list := range m.Containers() {
		for i := range list.Items {
			b.container(list.Key, i, &list.Items[i])
		}
	}
	if err := b.addFiles(ctx); err != nil {
		return nil, err
	}
	if err := b.errs.Err(); err != nil {
		return nil, err
	}
	p := &Plan{Platform: platform, Boot: b.boot}
	p.Steps = append(p.Steps, b.layout())
	p.Steps = append(p.Steps, b.steps...)
	return p, nil
}

// A builder collects the steps of a plan and the faults found on the way.
type builder struct {
	m      *manifest.Manifest
	ids    oci.IDs
	images map[string]Image  // by the reference in full
	copied map[string]string // where the files of an image already are, by its chain
	files  Context

	boot    *Step
	steps   []Step
	parents []File // directories that entries need
	dirs    map[string]bool
	errs    source.Errors
}

// firstID is the first id that a container is given, as LinuxKit does.
const firstID = 100

// allocate gives every container an id, in the order of the manifest.
func allocate(m *manifest.Manifest) oci.IDs {
	ids, next := oci.IDs{}, uint32(firstID)
	for _, list := range m.Containers() {
		for _, c := range list.Items {
			ids[c.Name] = next
			next++
		}
	}
	return ids
}

// resolve pins every image of the manifest, each reference once.
func (b *builder) resolve(ctx context.Context, platform string, r Resolver) error {
	b.images = map[string]Image{}
	var refs, paths []string
	for path, ref := range b.m.Images() {
		if _, ok := b.images[ref.Name]; !ok {
			b.images[ref.Name] = Image{}
			refs, paths = append(refs, ref.Name), append(paths, path)
		}
	}
	var mu sync.Mutex
	g := errgroup.Group{}
	g.SetLimit(parallel)
	for i, ref := range refs {
		g.Go(func() error {
			img, err := r.Resolve(ctx, ref, platform)
			if err == nil {
				err = img.check(platform)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				e := b.m.ErrorAt(paths[i], err.Error())
				e.Err = err
				b.errs = append(b.errs, e)
			}
			b.images[ref] = img
			return nil
		})
	}
	_ = g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return b.errs.Err()
}

// fault notes an error about the value at path.
func (b *builder) fault(path string, err error) {
	e := b.m.ErrorAt(path, err.Error())
	var f *oci.FieldError
	if errors.As(err, &f) {
		e = b.m.ErrorAt(path+"."+f.Field, f.Msg)
		e.Hint = f.Hint
	}
	b.errs = append(b.errs, e)
}

func (b *builder) step(name, title, src string) Step {
	return Step{Name: name, Title: title, Source: src, Pos: b.m.PosOf(name)}
}

// kernel places what loads the system, and the modules. Both paths default to
// what LinuxKit's kernel images hold.
func (b *builder) kernel(k *manifest.Kernel) {
	img := b.images[k.Image.Name]
	binary, modules := "kernel", "kernel.tar"
	if k.Binary != "" {
		binary = clean(k.Binary)
	}
	if k.Tar != nil {
		modules = clean(*k.Tar)
	}
	boot := b.step("kernel", "kernel", k.Image.Name)
	boot.Defaults = []File{dir("boot", 0o755)}
	boot.Copies = []Copy{{Image: img, From: binary, Dest: KernelPath}}
	if k.Ucode != "" {
		boot.Copies = append(boot.Copies, Copy{Image: img, From: clean(k.Ucode), Dest: UcodePath})
	}
	boot.Files = []File{regular(CmdlinePath, 0o644, k.Cmdline)}
	b.boot = &boot
	if modules != "" && modules != "none" {
		s := b.step("kernel", "kernel modules", k.Image.Name)
		s.Copies = []Copy{{Image: img, From: modules, Unpack: true}}
		b.steps = append(b.steps, s)
	}
}

// init places one init image at the root.
func (b *builder) init(i int, ref manifest.Ref) {
	s := b.step(fmt.Sprintf("init[%d]", i), "init/"+short(ref.Name), ref.Name)
	s.Copies = []Copy{{Image: b.images[ref.Name], Drop: dropped}}
	s.Files = []File{
		regular("etc/hosts", 0o644, hosts),
		{Path: "etc/resolv.conf", Mode: typeSymlink | 0o777, Link: "/run/resolvconf/resolv.conf"},
	}
	for _, d := range ensured("") {
		b.parent(d)
	}
	b.steps = append(b.steps, s)
}

// layout is the first step: the directories that later ones need. What an
// image says of such a directory overrides it.
func (b *builder) layout() Step {
	return Step{Name: "layout", Title: "layout", Source: FilesSource, Defaults: b.parents}
}

// parent notes a directory, or a link, that something needs; the first to need
// it decides its mode and owner.
func (b *builder) parent(f File) {
	if f.Path != "" && !b.dirs[f.Path] {
		b.dirs[f.Path] = true
		b.parents = append(b.parents, f)
	}
}
