package formats

import (
	"context"
	"os"

	"github.com/lkx-os/lkx/exporters/tarball"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// kernelInitrd writes what a boot loader is given.
func kernelInitrd(_ context.Context, in Input, out *os.Root) error {
	l, err := load(in)
	if err != nil {
		return err
	}
	names := suffixes("-kernel", "-initrd.img", "-cmdline")(in.Base)
	for i, f := range []*sparse.File{l.kernel, l.wholeInitrd(), text(l.cmdline)} {
		if err := save(out, names[i], f); err != nil {
			return err
		}
	}
	return nil
}

// tarKernelInitrd writes the same as a tar archive, microcode by itself.
func tarKernelInitrd(_ context.Context, in Input, out *os.Root) error {
	l, err := load(in)
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
	trees := []tree.Tree{in.Root}
	if in.Boot != nil {
		trees = []tree.Tree{in.Boot, in.Root}
	}
	all, err := tree.Merge(trees...)
	if err != nil {
		return err
	}
	return create(out, suffixes(".tar")(in.Base)[0], func(w *os.File) error {
		return tarball.Write(w, all, in.Epoch)
	})
}
