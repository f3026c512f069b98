package formats

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/lkx-os/lkx/exporters/fat"
	"github.com/lkx-os/lkx/exporters/mbr"
	"github.com/lkx-os/lkx/tree"
)

// Where the parts of a card come from.
const (
	raspiDir = "raspi/"             // firmware, in the boot code's image
	dtbDir   = "boot/dtb/broadcom/" // device trees, which the kernel's archive brings
)

// raspiConfig is what the firmware reads (Raspberry Pi documentation,
// "config.txt"). The UART is the console; it needs a fixed clock, which
// enable_uart brings about.
const raspiConfig = `arm_64bit=1
kernel=kernel
initramfs initrd.img followkernel
enable_uart=1
`

// raspberryCard writes a card for the Raspberry Pi 3 (and the 4, which differs in
// files alone): a FAT partition that the firmware boots from, and the root file
// system, where that is not in the initrd.
func raspberryCard(_ context.Context, in Input, out *os.Root) error {
	l, err := loadDisk(in)
	if err != nil {
		return err
	}
	files, err := raspberryFiles(in)
	if err != nil {
		return err
	}
	files = append(files,
		fat.File{Path: "kernel", Contents: l.kernel},
		fat.File{Path: "initrd.img", Contents: l.wholeInitrd()},
		fat.File{Path: "cmdline.txt", Contents: text(l.cmdline + "\n")},
		fat.File{Path: "config.txt", Contents: text(raspiConfig)})
	signature := binary.LittleEndian.Uint32(l.id)
	vol, err := fat.New(files, fat.Options{Align: partAlign, Label: "LKX", ID: signature, Hidden: partAlign / 512, Epoch: in.Epoch})
	if err != nil {
		return err
	}
	boot := mbr.Partition{Type: mbr.FAT32, Off: partAlign, Size: vol.Image.Size()}
	if vol.Bits != 32 {
		boot.Type = mbr.FAT16
	}
	card := &mbr.Table{Signature: signature, Partitions: []mbr.Partition{boot}, Size: partAlign + boot.Size}
	if l.root != nil {
		p := mbr.Partition{Type: mbr.Linux, Off: card.Size, Size: alignUp(l.root.Image.Size, partAlign)}
		card.Partitions = append(card.Partitions, p)
		card.Size += p.Size
	}
	if card.Size, err = grown(in, card.Size, partAlign); err != nil {
		return err
	}
	image, err := card.Image()
	if err != nil {
		return err
	}
	image.PutFile(partAlign, vol.Image)
	if l.root != nil {
		image.PutFile(card.Partitions[1].Off, l.root.Image.file())
	}
	return in.save(out, in.Base+"-rpi3.img", image)
}

// raspberryFiles are the firmware's files and the device trees. These are there
// by two names: as Linux calls them and as the firmware, made for a kernel of
// its own, looks for them.
func raspberryFiles(in Input) ([]fat.File, error) {
	firmware, err := below(in.Code, raspiDir)
	if err != nil {
		return nil, err
	}
	if len(firmware) == 0 {
		return nil, fmt.Errorf("the image with the boot code (kernel.bootcode) has no firmware for Raspberry Pis in /%s", raspiDir)
	}
	trees, err := below(in.Root, dtbDir)
	if err != nil {
		return nil, err
	}
	out := firmware
	for _, f := range trees {
		out = append(out, f)
		if board, ok := strings.CutPrefix(f.Path, "bcm2837-"); ok {
			out = append(out, fat.File{Path: "bcm2710-" + board, Contents: f.Contents})
		}
	}
	if len(trees) == 0 {
		return nil, fmt.Errorf("this kernel's image brings no device trees in /%s: ghcr.io/lkx-os/kernel-generic does", dtbDir)
	}
	return out, nil
}

// below are the regular files right below dir, which ends with a slash, by their
// last names.
func below(t tree.Tree, dir string) ([]fat.File, error) {
	var names []string
	for e, err := range t.All() {
		if err != nil {
			return nil, err
		}
		if e.Type() == tree.TypeRegular && path.Dir(e.Path)+"/" == dir {
			names = append(names, e.Path)
		}
	}
	found, err := contents(t, names...)
	if err != nil {
		return nil, err
	}
	var out []fat.File
	for _, name := range names {
		out = append(out, fat.File{Path: path.Base(name), Contents: found[name]})
	}
	return out, nil
}
