package formats

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/lkx-os/lkx/exporters/tarball"
	"github.com/lkx-os/lkx/tree"
)

// kernelInitrd writes what a boot loader is given.
func kernelInitrd(_ context.Context, in Input, out *os.Root) error {
	text, err := cmdline(in.Boot)
	if err != nil {
		return err
	}
	names := suffixes("-kernel", "-initrd.img", "-cmdline")(in.Base)
	err = create(out, names[0], func(w io.Writer) error {
		_, err := copyFrom(w, func() (io.ReadCloser, error) { return in.Boot.Open(kernelPath) })
		return err
	})
	if err != nil {
		return err
	}
	if err := create(out, names[1], func(w io.Writer) error { return initrd(w, in) }); err != nil {
		return err
	}
	return create(out, names[2], func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// initrd writes the concatenation that the kernel unpacks. Microcode stands
// first and is not compressed: the kernel looks for it before it can
// decompress (Documentation/arch/x86/microcode.rst).
func initrd(w io.Writer, in Input) error {
	for e, err := range in.Boot.All() {
		if err != nil {
			return err
		}
		if e.Path != ucodePath {
			continue
		}
		n, err := copyFrom(w, func() (io.ReadCloser, error) { return in.Boot.Open(ucodePath) })
		if err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, -n&(segmentAlign-1))); err != nil {
			return err
		}
	}
	for _, b := range in.Initrd {
		n, err := copyFrom(w, b.Open)
		if err != nil {
			return err
		}
		if n != b.Size {
			return fmt.Errorf("%d bytes of a segment, expected %d: %w", n, b.Size, io.ErrUnexpectedEOF)
		}
	}
	return nil
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
	return create(out, suffixes(".tar")(in.Base)[0], func(w io.Writer) error {
		return tarball.Write(w, all, in.Epoch)
	})
}
