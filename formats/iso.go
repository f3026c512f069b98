package formats

import (
	"context"
	"encoding/binary"
	"math"
	"os"

	"github.com/lkx-os/lkx/exporters/fat"
	"github.com/lkx-os/lkx/exporters/gpt"
	"github.com/lkx-os/lkx/exporters/grub"
	"github.com/lkx-os/lkx/exporters/iso9660"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// Names on a CD.
const (
	espImage      = "lkx/esp.img" // the FAT volume that UEFI boots from
	eltoritoImage = "lkx/eltorito.img"
	isoRoot       = "lkx/root.img"
)

// iso writes a CD that is also a disk: with a GUID partition table, of which the
// volume for UEFI is a partition, and GRUB's code in the master boot record. As
// on disks, kernel and initrd are there once.
func iso(with firmware, suffix string) write {
	return func(_ context.Context, in Input, out *os.Root) error {
		with := with
		with.bios = with.bios && in.Arch == "amd64"
		l, err := loadDisk(in)
		if err != nil {
			return err
		}
		cd := &cd{in: in, with: with, l: l, files: map[string]*sparse.File{}}
		if l.root != nil {
			cd.files[isoRoot] = l.root.Image.file()
		}
		if err := cd.fill(); err != nil {
			return err
		}
		image, err := cd.image()
		if err != nil {
			return err
		}
		return in.save(out, in.Base+suffix, image)
	}
}

// cd is a CD that is being laid out.
type cd struct {
	in    Input
	with  firmware
	l     *loaded
	files map[string]*sparse.File

	kernel, initrd sparse.Run // in the file that holds them
	kernelIn       string
	initrdIn       string
	mbr            []byte
}

// fill gives the CD its files, those that depend on where others are as they
// are in size.
func (c *cd) fill() error {
	if c.with.efi {
		image, err := unified(c.in, c.l)
		if err != nil {
			return err
		}
		boot := efiBootPath(c.in.Arch)
		vol, err := fat.New([]fat.File{{Path: boot, Contents: image.File}},
			fat.Options{Label: "LKX", ID: binary.LittleEndian.Uint32(c.l.id), Epoch: c.in.Epoch})
		if err != nil {
			return err
		}
		c.files[espImage] = vol.Image
		off := vol.Range(boot).Off
		c.kernel, c.initrd = image.Raw[".linux"], image.Raw[".initrd"]
		c.kernel.Off += off
		c.initrd.Off += off
		c.kernelIn, c.initrdIn = espImage, espImage
	} else {
		c.files[bareKernel], c.files[bareInitrd] = c.l.kernel, c.l.wholeInitrd()
		c.kernel, c.initrd = whole(c.files[bareKernel]), whole(c.files[bareInitrd])
		c.kernelIn, c.initrdIn = bareKernel, bareInitrd
	}
	if !c.with.bios {
		return nil
	}
	eltorito, err := bootcode(c.in, "grub/eltorito.img")
	if err != nil {
		return err
	}
	c.files[eltoritoImage] = text(string(eltorito))
	c.files[grubConfig] = &sparse.File{}
	c.files[grubConfig].Resize(grubConfigMax)
	v, err := c.volume()
	if err != nil {
		return err
	}
	c.kernel.Off += v.Offsets[c.kernelIn]
	c.initrd.Off += v.Offsets[c.initrdIn]
	if err := fillConfig(c.files[grubConfig], c.kernel, c.initrd, c.l.cmdline); err != nil {
		return err
	}
	hybrid, err := bootcode(c.in, "grub/boot_hybrid.img")
	if err != nil {
		return err
	}
	patched, mbr, err := grub.ElTorito(eltorito, hybrid, v.Offsets[eltoritoImage])
	c.files[eltoritoImage], c.mbr = text(string(patched)), mbr
	return err
}

// whole is all of a file, in sectors.
func whole(f *sparse.File) sparse.Run { return sparse.Run{Size: (f.Size() + 511) / 512 * 512} }

// volume lays out the files as they are now.
func (c *cd) volume() (*iso9660.Volume, error) {
	var b tree.Builder
	for name, f := range c.files {
		if err := b.Put(tree.Entry{Path: name, Mode: tree.TypeRegular | 0o644, Size: f.Size()}, f.Open); err != nil {
			return nil, err
		}
	}
	o := iso9660.Options{Label: "LKX", Epoch: c.in.Epoch, Contents: c.files, Tail: gpt.Reserved, Align: partAlign}
	if c.with.bios {
		// 4 sectors are what GRUB's first part of eltorito.img has.
		o.Boot = append(o.Boot, iso9660.Boot{Platform: 0, Path: eltoritoImage, LoadSectors: 4, Table: true})
	}
	if esp := c.files[espImage]; esp != nil {
		sectors := esp.Size() / 512
		if sectors > math.MaxUint16 {
			sectors = 0 // more than an entry can say: all of it
		}
		o.Boot = append(o.Boot, iso9660.Boot{Platform: 0xef, Path: espImage, LoadSectors: uint16(sectors)})
	}
	return iso9660.New(b.Tree(), o)
}

// image is the CD with the partition table that makes it a disk.
func (c *cd) image() (*sparse.File, error) {
	v, err := c.volume()
	if err != nil {
		return nil, err
	}
	t := &gpt.Table{ID: gpt.NewGUID(c.l.id, "cd"), Size: v.Image.Size(), BootCode: c.mbr}
	if esp := c.files[espImage]; esp != nil {
		t.Partitions = []gpt.Partition{{Type: gpt.EFISystem, ID: gpt.NewGUID(c.l.id, "esp"), Name: "esp", Off: v.Offsets[espImage], Size: esp.Size()}}
	}
	if c.l.root != nil {
		p := rootPartition(c.in, c.l, v.Offsets[isoRoot])
		p.Size = c.l.root.Image.Size // other files are behind it
		t.Partitions = append(t.Partitions, p)
	}
	out, err := t.Image()
	if err != nil {
		return nil, err
	}
	out.PutFile(0, v.Image)
	return out, nil
}
