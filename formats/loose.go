package formats

import (
	"context"
	"os"
	"path/filepath"

	"github.com/lkx-os/lkx/exporters/tarball"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// kernelAlone writes what a boot loader is given but the initrd.
func kernelAlone(_ context.Context, in Input, out *os.Root) error {
	l, err := load(in, nil)
	if err != nil {
		return err
	}
	return l.saveKernel(in, out)
}

// initrdAlone writes the initrd.
func initrdAlone(_ context.Context, in Input, out *os.Root) error {
	l, err := load(in, nil)
	if err != nil {
		return err
	}
	name := looseNames(in.Base)[1]
	if in.Joined != "" && l.ucode == nil {
		return os.Rename(in.Joined, filepath.Join(out.Name(), name))
	}
	return in.save(out, name, l.wholeInitrd())
}

// looseNames are the names of kernel, initrd and command line as files.
var looseNames = suffixes("-kernel", "-initrd.img", "-cmdline")

// saveKernel writes kernel and command line as files.
func (l *loaded) saveKernel(in Input, out *os.Root) error {
	names := looseNames(in.Base)
	if err := in.save(out, names[0], l.kernel); err != nil {
		return err
	}
	return in.save(out, names[2], text(l.cmdline))
}

// save writes what is loaded as files.
func (l *loaded) save(in Input, out *os.Root) error {
	if err := l.saveKernel(in, out); err != nil {
		return err
	}
	return in.save(out, looseNames(in.Base)[1], l.wholeInitrd())
}

// kernelRoot writes a root file system of the type kind, and what finds it. For
// an init that cannot, the initrd is empty: the kernel mounts what root= says.
func kernelRoot(kind, suffix string) write {
	return func(_ context.Context, in Input, out *os.Root) error {
		root := in.Disks[kind]
		l, err := load(in, root)
		if err != nil {
			return err
		}
		if err := in.save(out, in.Base+suffix, root.Image.file()); err != nil {
			return err
		}
		return l.save(in, out)
	}
}

// tarKernelInitrd writes the same as a tar archive, microcode by itself.
func tarKernelInitrd(_ context.Context, in Input, out *os.Root) error {
	l, err := load(in, nil)
	if err != nil {
		return err
	}
	var b tree.Builder
	for name, f := range map[string]*sparse.File{"kernel": l.kernel, "initrd.img": l.initrd, "cmdline": text(l.cmdline), "ucode.cpio": l.ucode} {
		if f == nil {
			continue
		}
		e := tree.Entry{Path: name, Mode: tree.TypeRegular | 0o644, Size: f.Size()}
		if err := b.Put(e, f.Open); err != nil {
			return err
		}
	}
	return create(out, in.Base+"-initrd.tar", func(w *os.File) error {
		return tarball.Write(w, b.Tree(), in.Epoch)
	})
}

// tarArchive writes the root file system with what boots it.
func tarArchive(_ context.Context, in Input, out *os.Root) error {
	all, err := wholeSystem(in)
	if err != nil {
		return err
	}
	return create(out, suffixes(".tar")(in.Base)[0], func(w *os.File) error {
		return tarball.Write(w, all, in.Epoch)
	})
}

// wholeSystem is the root file system with what boots it.
func wholeSystem(in Input) (tree.Tree, error) {
	if in.Boot == nil {
		return in.Root, nil
	}
	return tree.Merge(in.Boot, in.Root)
}
