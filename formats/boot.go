package formats

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/lkx-os/lkx/exporters/uki"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// Names in Input.Boot.
const (
	kernelPath  = "boot/kernel"
	cmdlinePath = "boot/cmdline"
	ucodePath   = "boot/ucode.cpio"
)

// loaded is what a boot loader loads.
type loaded struct {
	kernel  *sparse.File
	ucode   *sparse.File // microcode, a cpio archive; nil if there is none
	initrd  *sparse.File // without microcode
	cmdline string       // without blanks around it

	root *RootDisk // for the same disk; nil if the initrd is all
	id   []byte    // digest of what is loaded, from which identifiers are made; of disks alone
}

// loadDisk is load for what boots from a disk.
func loadDisk(in Input) (*loaded, error) {
	root := in.Disks[in.Disk]
	if root != nil && root.Which == "" {
		return nil, errOtherInit
	}
	l, err := load(in, root)
	if err != nil {
		return nil, err
	}
	l.root = root
	l.id, err = identity(l)
	return l, err
}

// load lays out what in.Boot and in.Initrd hold, or what finds the root, where
// that is on a disk.
func load(in Input, root *RootDisk) (*loaded, error) {
	files, err := contents(in.Boot, kernelPath, cmdlinePath, ucodePath)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{kernelPath, cmdlinePath} {
		if files[name] == nil {
			return nil, fmt.Errorf("there is no %s: %w", name, os.ErrNotExist)
		}
	}
	text, err := bytesOf(files[cmdlinePath])
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's command line: %w", err)
	}
	l := &loaded{kernel: files[kernelPath], ucode: files[ucodePath], initrd: &sparse.File{}, cmdline: strings.TrimSpace(string(text))}
	initrd := in.Initrd
	if root != nil {
		initrd = []Blob{root.Initrd}
		if root.Which != "" {
			l.cmdline = strings.TrimSpace(l.cmdline + " lkx.root=" + root.Which)
		}
	}
	for _, b := range initrd {
		l.initrd.PutSource(l.initrd.Size(), b.Size, b.Open)
	}
	return l, nil
}

// wholeInitrd is microcode and initrd in one. Microcode stands first and is not
// compressed: the kernel looks for it before it can decompress
// (Documentation/arch/x86/microcode.rst).
func (l *loaded) wholeInitrd() *sparse.File {
	if l.ucode == nil {
		return l.initrd
	}
	f := &sparse.File{}
	f.PutFile(0, l.ucode)
	f.PutFile((l.ucode.Size()+segmentAlign-1)&^(segmentAlign-1), l.initrd)
	return f
}

// contents are the regular files of t by those names, as far as there are any.
func contents(t tree.Tree, names ...string) (map[string]*sparse.File, error) {
	out := map[string]*sparse.File{}
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if e.Path == name && e.Type() == tree.TypeRegular {
				f := &sparse.File{}
				f.PutSource(0, e.Size, func() (io.ReadCloser, error) { return t.Open(name) })
				out[name] = f
			}
		}
	}
	return out, nil
}

// bytesOf is all of a file that is known to be small.
func bytesOf(f *sparse.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// bootcode reads one file of the boot code's image.
func bootcode(in Input, name string) ([]byte, error) {
	files, err := contents(in.Code, name)
	if err != nil {
		return nil, err
	}
	if files[name] == nil {
		return nil, fmt.Errorf("the image with the boot code (kernel.bootcode) has no file %s", name)
	}
	data, err := bytesOf(files[name])
	if err != nil {
		return nil, fmt.Errorf("reading the boot code %s: %w", name, err)
	}
	return data, nil
}

// efiNames are how UEFI names an architecture in files (UEFI 2.10, 3.5.1.1).
var efiNames = map[string]string{"amd64": "x64", "arm64": "aa64"}

// unified assembles the UKI of in, which has l to load.
func unified(in Input, l *loaded) (*uki.Image, error) {
	stub, err := bootcode(in, "efi/linux"+efiNames[in.Arch]+".efi.stub")
	if err != nil {
		return nil, err
	}
	sections := []uki.Section{{Name: ".osrel", Contents: text("ID=lkx\nPRETTY_NAME=lkx\n")}}
	if l.cmdline != "" {
		sections = append(sections, uki.Section{Name: ".cmdline", Contents: text(l.cmdline)})
	}
	sections = append(sections,
		uki.Section{Name: ".initrd", Contents: l.wholeInitrd()},
		uki.Section{Name: ".linux", Contents: l.kernel})
	return uki.New(stub, in.Epoch, sections...)
}

// text is a file that holds s.
func text(s string) *sparse.File {
	f := &sparse.File{}
	f.Put(0, []byte(s))
	return f
}

// unifiedImage writes the UKI itself.
func unifiedImage(_ context.Context, in Input, out *os.Root) error {
	l, err := load(in, nil)
	if err != nil {
		return err
	}
	img, err := unified(in, l)
	if err != nil {
		return err
	}
	return in.save(out, in.Base+".efi", img.File)
}
