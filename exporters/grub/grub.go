// Package grub patches the boot code of GRUB 2 for PC BIOS, made by grub-mkimage,
// and writes the configuration that it reads. The offsets are those of GRUB's
// include/grub/i386/pc/boot.h and include/grub/offsets.h.
//
// The code itself comes from an image; nothing of GRUB is in this program.
package grub

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/lkx-os/lkx/internal/sparse"
)

const (
	sector = 512

	// BootCodeSize is how much of a master boot record is code, in bytes; the
	// disk's signature and its partitions follow.
	BootCodeSize = 440

	bootKernelSector = 0x5c // GRUB_BOOT_MACHINE_KERNEL_SECTOR: u64, sector of the core image
	bootDrive        = 0x64 // GRUB_BOOT_MACHINE_BOOT_DRIVE: 0xFF is the drive that the BIOS names
	bootDriveCheck   = 0x66 // GRUB_BOOT_MACHINE_DRIVE_CHECK: two bytes, a jump that is to be left out

	coreBlocklist = 500 // the first sector's block list, its last 12 bytes: u64 sector, u16 count, u16 segment

	hybridSector   = 0x1b0 // of boot_hybrid.img: u64, sector of the core in the CD's image
	hybridSkip     = 4     // sectors of 512 bytes from the image's start to where it goes on
	eltoritoSector = 2548  // of eltorito.img, as GRUB's mkrescue writes it: u64
	eltoritoSkip   = 5
)

// Disk patches boot.img and core.img for a disk with the core at byte coreOff.
// It returns the master boot record's code, of [BootCodeSize] bytes, and the
// core image.
func Disk(boot, core []byte, coreOff int64) (mbr, patched []byte, err error) {
	switch {
	case len(boot) != sector:
		return nil, nil, fmt.Errorf("boot.img has %d bytes, not %d", len(boot), sector)
	case len(core) < 2*sector:
		return nil, nil, fmt.Errorf("core.img has only %d bytes", len(core))
	case coreOff <= 0 || coreOff%sector != 0:
		return nil, nil, fmt.Errorf("core.img cannot be at byte %d", coreOff)
	}
	le := binary.LittleEndian
	lba := uint64(coreOff / sector)
	mbr = append([]byte(nil), boot[:BootCodeSize]...)
	le.PutUint64(mbr[bootKernelSector:], lba)
	mbr[bootDrive] = 0xff
	copy(mbr[bootDriveCheck:], []byte{0x90, 0x90}) // nop: some BIOSes pass a wrong drive number

	patched = pad(core)
	count := len(patched)/sector - 1
	if count > math.MaxUint16 {
		return nil, nil, fmt.Errorf("core.img has %d sectors, too many", count)
	}
	le.PutUint64(patched[coreBlocklist:], lba+1)
	le.PutUint16(patched[coreBlocklist+8:], uint16(count))
	return mbr, patched, nil
}

// ElTorito patches eltorito.img, and boot_hybrid.img for the same CD's master
// boot record, for a CD with eltorito.img at byte off.
func ElTorito(eltorito, hybrid []byte, off int64) (image, mbr []byte, err error) {
	switch {
	case len(eltorito) < eltoritoSector+8:
		return nil, nil, fmt.Errorf("eltorito.img has only %d bytes", len(eltorito))
	case len(hybrid) != sector:
		return nil, nil, fmt.Errorf("boot_hybrid.img has %d bytes, not %d", len(hybrid), sector)
	case off <= 0 || off%sector != 0:
		return nil, nil, fmt.Errorf("eltorito.img cannot be at byte %d", off)
	}
	le := binary.LittleEndian
	image = append([]byte(nil), eltorito...)
	le.PutUint64(image[eltoritoSector:], uint64(off/sector)+eltoritoSkip)
	mbr = append([]byte(nil), hybrid[:BootCodeSize]...)
	le.PutUint64(mbr[hybridSector:], uint64(off/sector)+hybridSkip)
	return image, mbr, nil
}

// Config is a configuration that boots at once: with a kernel, and an initrd
// unless its range is empty, that are ranges of bytes of the device GRUB found
// the configuration on. Both begin and end at multiples of 512.
func Config(kernel, initrd sparse.Run, cmdline string) ([]byte, error) {
	quoted, err := quote(cmdline)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "linux %s %s\n", blocks(kernel), quoted)
	if initrd.Size > 0 {
		fmt.Fprintf(&b, "initrd %s\n", blocks(initrd))
	}
	b.WriteString("boot\n")
	return []byte(b.String()), nil
}

// blocks is a block list ("Block list syntax" in GRUB's manual): numbers without
// leading zeros, which would be octal.
func blocks(r sparse.Run) string {
	return fmt.Sprintf("($root)%d+%d", r.Off/sector, r.Size/sector)
}

// quote makes words of GRUB's script language of a kernel command line. GRUB
// joins them with blanks again, and puts a backslash before every quote and
// backslash, which the kernel would read: those are refused.
func quote(cmdline string) (string, error) {
	for i, r := range cmdline {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`'"\`, r) {
			return "", fmt.Errorf("the kernel's command line has %q at byte %d, which GRUB cannot hand over", r, i)
		}
	}
	words := strings.Fields(cmdline)
	for i, w := range words {
		words[i] = "'" + w + "'"
	}
	return strings.Join(words, " "), nil
}

func pad(data []byte) []byte {
	out := make([]byte, (len(data)+sector-1)/sector*sector)
	copy(out, data)
	return out
}
