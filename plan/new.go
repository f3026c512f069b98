package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/oci"
)

// Context is the build context: where "source:" paths of a manifest are.
type Context interface {
	// Stat is the type of what is there under name, symbolic links followed; an
	// error that is fs.ErrNotExist says that there is nothing.
	Stat(ctx context.Context, name string) (fs.FileMode, error)
}

// parallel is how many images are resolved at a time.
const parallel = 16

// DefaultBootcode is the image with boot code that is taken when a manifest
// names none.
const DefaultBootcode = "ghcr.io/lkx-os/bootblobs:0.1"

// Options is what a plan is made for.
type Options struct {
	Platform string // "linux/amd64"
	Bootcode bool   // boot code is needed
}

// New makes the plan of m. Errors that the
// manifest can answer for are a [source.Errors] with every fault found.
func New(ctx context.Context, m *manifest.Manifest, o Options, r Resolver, files Context) (*Plan, error) {
	b := &builder{
		m: m, sys: oci.System{Arch: archOf(o.Platform), IDs: m.IDs(), Volumes: volumes(m)}, copied: map[string]placed{},
		dirs: map[string]bool{}, files: files,
	}
	if err := b.resolve(ctx, o, r); err != nil {
		return nil, err
	}
	if k := m.Kernel; k != nil {
		b.kernel(k)
		if o.Bootcode {
			b.code = b.bootcode(k)
		}
	}
	for i, ref := range m.Init {
		b.init(i, ref)
	}
	for i := range m.Volumes {
		if err := b.volume(ctx, i, r); err != nil {
			return nil, err
		}
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
	p := &Plan{Platform: o.Platform, Boot: b.boot, Code: b.code}
	p.Steps = append(p.Steps, b.layout())
	p.Steps = append(p.Steps, b.steps...)
	return p, nil
}

// A builder collects the steps of a plan and the faults found on the way.
type builder struct {
	m      *manifest.Manifest
	sys    oci.System
	images map[string]Image  // by the reference in full
	copied map[string]placed // the images that are there already, by their chains
	files  Context

	boot    *Step
	code    *Step
	steps   []Step
	parents []File // directories that entries need
	dirs    map[string]bool
	errs    source.Errors
}

// placed is where the files of an image are, and which step puts them there.
type placed struct {
	at   string
	step int
}

// archOf is the architecture of a platform.
func archOf(platform string) string {
	_, rest, _ := strings.Cut(platform, "/")
	arch, _, _ := strings.Cut(rest, "/")
	return arch
}

// resolve pins every image of the manifest, each reference once.
func (b *builder) resolve(ctx context.Context, o Options, r Resolver) error {
	b.images = map[string]Image{}
	var refs, paths []string
	whole := map[string]bool{} // paths of images of which no platform is chosen
	for i, v := range b.m.Volumes {
		whole[fmt.Sprintf("volumes[%d].image", i)] = v.Format == formatOCI
	}
	for path, ref := range b.m.Images() {
		if _, ok := b.images[ref.Name]; !ok && !whole[path] {
			b.images[ref.Name] = Image{}
			refs, paths = append(refs, ref.Name), append(paths, path)
		}
	}
	if k := b.m.Kernel; o.Bootcode && k != nil && k.Bootcode.Name == "" {
		refs, paths = append(refs, DefaultBootcode), append(paths, "kernel")
	}
	var mu sync.Mutex
	g := errgroup.Group{}
	g.SetLimit(parallel)
	for i, ref := range refs {
		g.Go(func() error {
			img, err := r.Resolve(ctx, ref, o.Platform)
			if err == nil {
				err = img.check(o.Platform)
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

// bootcode is the step with all of the boot code's image.
func (b *builder) bootcode(k *manifest.Kernel) *Step {
	name := cmp.Or(k.Bootcode.Name, DefaultBootcode)
	s := b.step("kernel", "boot code", name)
	s.Copies = []Copy{{Image: b.images[name]}}
	return &s
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
