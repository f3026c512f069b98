package formats

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/lkx-os/lkx/exporters/fat"
	"github.com/lkx-os/lkx/exporters/gpt"
	"github.com/lkx-os/lkx/exporters/grub"
	"github.com/lkx-os/lkx/exporters/uki"
	"github.com/lkx-os/lkx/internal/sparse"
)

// firmware is what a disk boots with.
type firmware struct{ bios, efi bool }

// laid is a disk that is laid out.
type laid struct {
	image *sparse.File
	id    []byte // digest of what it boots
}

// both is BIOS and UEFI, as far as the architecture has them.
var both = firmware{bios: true, efi: true}

// partAlign is what partitions and disks are aligned to, in bytes.
const partAlign = 1 << 20

// Names on the boot partition.
const (
	grubConfig    = "lkx/grub.cfg" // the boot code's own configuration looks for it
	bareKernel    = "lkx/kernel"
	bareInitrd    = "lkx/initrd.img"
	grubConfigMax = 8 << 10 // bytes that are kept for the configuration: where files are depends on its size
)

// disk lays out a disk with a GUID partition table: GRUB's core image before the
// first MiB if it boots with BIOS, one FAT partition with what is booted, and one
// with the root file system, where that is not in the initrd. The kernel and the initrd are there once: as a UKI, out of which GRUB loads them by
// their sectors, or, without UEFI, as files.
//
// Its size is a multiple of align bytes.
func disk(in Input, with firmware, align int64) (*laid, error) {
	with.bios = with.bios && in.Arch == "amd64"
	l, err := loadDisk(in)
	if err != nil {
		return nil, err
	}
	vol, err := bootVolume(in, l, with)
	if err != nil {
		return nil, err
	}
	rootOff := partAlign + vol.Size()
	size := rootOff + partAlign // the last MiB is for the second table
	if l.root != nil {
		size += alignUp(l.root.Image.Size, partAlign)
	}
	if size, err = grown(in, size, align); err != nil {
		return nil, err
	}
	t := &gpt.Table{
		ID: gpt.NewGUID(l.id, "disk"), Size: size, Active: !with.efi,
		Partitions: []gpt.Partition{{Type: gpt.BasicData, ID: gpt.NewGUID(l.id, "boot"), Name: "boot", Off: partAlign, Size: vol.Size()}},
	}
	if with.efi {
		t.Partitions[0].Type = gpt.EFISystem
	}
	if l.root != nil {
		t.Partitions = append(t.Partitions, rootPartition(in, l, rootOff))
	}
	var core []byte
	if with.bios {
		t.Partitions = append(t.Partitions, gpt.Partition{
			Type: gpt.BIOSBoot, ID: gpt.NewGUID(l.id, "bios"), Name: "bios", Off: gpt.First, Size: partAlign - gpt.First,
		})
		if t.BootCode, core, err = grubDisk(in); err != nil {
			return nil, err
		}
	}
	out, err := t.Image()
	if err != nil {
		return nil, err
	}
	if core != nil {
		out.Put(gpt.First, core)
	}
	out.PutFile(partAlign, vol)
	if l.root != nil {
		out.PutFile(rootOff, l.root.Image.file())
	}
	return &laid{out, l.id}, nil
}

// rootPartition is the partition of l's root, which begins at off.
func rootPartition(in Input, l *loaded, off int64) gpt.Partition {
	kind := map[string]gpt.GUID{"amd64": gpt.RootAMD64, "arm64": gpt.RootARM64}[in.Arch]
	return gpt.Partition{Type: kind, ID: gpt.NewGUID(l.id, "root"), Name: "root", Off: off, Size: alignUp(l.root.Image.Size, partAlign), Attributes: gpt.ReadOnly}
}

// grown is the size of a disk that needs size bytes: at least what the user
// wants, and a multiple of align.
func grown(in Input, size, align int64) (int64, error) {
	if in.Size != 0 && in.Size < size {
		return 0, fmt.Errorf("a disk of %d bytes is too small: this one needs %d", in.Size, size)
	}
	return alignUp(max(size, in.Size), align), nil
}

// alignUp is n, or the next multiple of align.
func alignUp(n, align int64) int64 { return (n + align - 1) / align * align }

// grubDisk is GRUB's part of a disk: the master boot record's code, and the core
// image for the partition that begins at gpt.First.
func grubDisk(in Input) (mbr, core []byte, err error) {
	boot, err := bootcode(in, "grub/boot.img")
	if err != nil {
		return nil, nil, err
	}
	if core, err = bootcode(in, "grub/core.img"); err != nil {
		return nil, nil, err
	}
	mbr, core, err = grub.Disk(boot, core, gpt.First)
	if err == nil && len(core) > partAlign-gpt.First {
		err = fmt.Errorf("core.img has %d bytes, more than fit before the first partition", len(core))
	}
	return mbr, core, err
}

// bootVolume is the FAT volume that a disk boots from, its size a multiple of
// partAlign.
func bootVolume(in Input, l *loaded, with firmware) (*sparse.File, error) {
	var files []fat.File
	var image *uki.Image
	if with.efi {
		var err error
		if image, err = unified(in, l); err != nil {
			return nil, err
		}
		files = append(files, fat.File{Path: efiBootPath(in.Arch), Contents: image.File})
	} else {
		files = append(files, fat.File{Path: bareKernel, Contents: l.kernel}, fat.File{Path: bareInitrd, Contents: l.wholeInitrd()})
	}
	o := fat.Options{Align: partAlign, Label: "LKX", ID: binary.LittleEndian.Uint32(l.id), Hidden: partAlign / 512, Epoch: in.Epoch}
	if !with.bios {
		v, err := fat.New(files, o)
		if err != nil {
			return nil, err
		}
		return v.Image, nil
	}
	config := &sparse.File{}
	config.Resize(grubConfigMax)
	files = append(files, fat.File{Path: grubConfig, Contents: config})
	v, err := fat.New(files, o)
	if err != nil {
		return nil, err
	}
	kernel, initrd := v.Range(bareKernel), v.Range(bareInitrd)
	if image != nil {
		off := v.Range(efiBootPath(in.Arch)).Off
		kernel, initrd = image.Raw[".linux"], image.Raw[".initrd"]
		kernel.Off += off
		initrd.Off += off
	}
	if err := fillConfig(config, kernel, initrd, l.cmdline); err != nil {
		return nil, err
	}
	if v, err = fat.New(files, o); err != nil { // the same layout, with the configuration
		return nil, err
	}
	return v.Image, nil
}

// fillConfig writes GRUB's configuration into the file that was kept for it.
func fillConfig(config *sparse.File, kernel, initrd sparse.Run, cmdline string) error {
	text, err := grub.Config(kernel, initrd, cmdline)
	if err != nil {
		return err
	}
	if len(text) > grubConfigMax {
		return fmt.Errorf("the kernel's command line has %d bytes, which is too long", len(cmdline))
	}
	padded := make([]byte, grubConfigMax)
	for i := copy(padded, text); i < len(padded); i++ {
		padded[i] = '\n'
	}
	config.Put(0, padded)
	return nil
}

// efiBootPath is what UEFI starts from a disk that it knows nothing of (UEFI
// 2.10, 3.5.1.1).
func efiBootPath(arch string) string {
	return map[string]string{"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}[arch]
}

// identity is a digest of what is booted, from which a disk's identifiers are made.
func identity(l *loaded) ([]byte, error) {
	h := sha256.New()
	for _, f := range []*sparse.File{text(l.cmdline + "\x00"), l.kernel, l.wholeInitrd()} {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(h, r)
		r.Close()
		if err != nil {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}
