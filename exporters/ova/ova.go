// Package ova writes a virtual machine of one disk as an OVA: a tar archive of
// a descriptor, a manifest and the disk, for VMware's hypervisors ("Open
// Virtualization Format Specification", DSP0243, version 1.1; VMware reads 2.x
// only in parts).
//
// The machine is one of x86-64 with hardware version 13 (ESXi 6.5 and newer),
// a paravirtual SCSI controller and, if wanted, a VMXNET 3 network adapter.
//
// It refuses disks that are not stream-optimized VMDKs, disks of 8 GiB or more
// in the archive, which the standard wants as "ustar", hardware that version 13
// does not have, and names that are not portable as file names.
package ova

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"
)

const (
	bufferSize = 1 << 20
	maxSize    = 1<<33 - 1 // of a member: 11 octal digits
	sector     = 512
	streamed   = 1<<16 | 1<<17 // flags of a VMDK: compressed grains, each with a marker
	maxCPUs    = 128
	maxMemory  = 6128 << 10 // MiB
	memoryUnit = 4          // MiB
)

// Options describe the virtual machine.
type Options struct {
	Name      string // of the machine; files are named NAME.ovf, NAME.mf, NAME-disk1.vmdk
	CPUs      int
	MemoryMiB int64  // a multiple of 4
	Firmware  string // "bios" or "efi"
	Network   bool   // has a network adapter
	Epoch     int64  // time of the files, in seconds since 1970
}

// portable names mean themselves everywhere: as a file's, in the manifest, as a
// relative URL.
var portable = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (o *Options) check() error {
	switch {
	case !portable.MatchString(o.Name):
		return fmt.Errorf("a machine cannot be named %q: 1 to 64 letters, digits, dots, underscores and hyphens", o.Name)
	case o.CPUs < 1 || o.CPUs > maxCPUs:
		return fmt.Errorf("%d CPUs: a machine has 1 to %d", o.CPUs, maxCPUs)
	case o.MemoryMiB < memoryUnit || o.MemoryMiB > maxMemory || o.MemoryMiB%memoryUnit != 0:
		return fmt.Errorf("%d MiB of memory: it is a multiple of %d MiB, up to %d", o.MemoryMiB, memoryUnit, maxMemory)
	case o.Firmware != "bios" && o.Firmware != "efi":
		return fmt.Errorf("there is no firmware %q: bios or efi", o.Firmware)
	case o.Epoch < 0 || o.Epoch > maxSize:
		return fmt.Errorf("time %d does not fit a tar header", o.Epoch)
	}
	return nil
}

// Write writes the machine to w. Its disk, a stream-optimized VMDK from the
// beginning of disk to the end, is read twice: the manifest, with its digest,
// stands before it.
func Write(w io.Writer, disk io.ReadSeeker, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	file, err := inspect(disk)
	if err != nil {
		return fmt.Errorf("reading the disk: %w", err)
	}
	file.name = o.Name + "-disk1.vmdk"
	ovf, err := descriptor(file, o)
	if err != nil {
		return err
	}
	// Digests are SHA-1 in version 1.1, SHA-256 in 2.x, and may be either for
	// hardware of version 13.
	mf := fmt.Appendf(nil, "SHA256(%s.ovf)= %x\nSHA256(%s)= %x\n", o.Name, sha256.Sum256(ovf), file.name, file.digest)

	// The order is that of 5.3, "Distribution as a Single File".
	a := archive{tar.NewWriter(w), time.Unix(o.Epoch, 0)}
	if err := a.add(o.Name+".ovf", int64(len(ovf)), bytes.NewReader(ovf)); err != nil {
		return err
	}
	if err := a.add(o.Name+".mf", int64(len(mf)), bytes.NewReader(mf)); err != nil {
		return err
	}
	if err := a.add(file.name, file.size, disk); err != nil {
		return err
	}
	if err := a.tw.Close(); err != nil {
		return fmt.Errorf("ending the archive: %w", err)
	}
	return nil
}

// image is a disk in its file.
type image struct {
	name     string
	size     int64 // of the file
	capacity int64 // of the disk, in bytes
	digest   []byte
}

// inspect reads disk to its end, and returns to its beginning.
func inspect(disk io.ReadSeeker) (*image, error) {
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if size > maxSize {
		return nil, fmt.Errorf("its %d bytes are too many for an OVA: a file may have 8 GiB - 1", size)
	}
	if _, err := disk.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// SparseExtentHeader of "Virtual Disk Format 5.0".
	header := make([]byte, sector)
	if _, err := io.ReadFull(disk, header); err != nil {
		return nil, err
	}
	flags := binary.LittleEndian.Uint32(header[8:])
	if string(header[:4]) != "KDMV" || flags&streamed != streamed {
		return nil, errors.New("it is not a stream-optimized VMDK")
	}
	sum := sha256.New()
	sum.Write(header)
	if _, err := io.Copy(sum, disk); err != nil {
		return nil, err
	}
	if _, err := disk.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return &image{size: size, capacity: int64(binary.LittleEndian.Uint64(header[12:])) * sector, digest: sum.Sum(nil)}, nil
}

type archive struct {
	tw   *tar.Writer
	time time.Time
}

func (a *archive) add(name string, size int64, r io.Reader) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: a.time, Format: tar.FormatUSTAR}
	if err := a.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	n, err := io.CopyBuffer(a.tw, io.LimitReader(r, size), make([]byte, bufferSize))
	if err == nil && n < size {
		err = fmt.Errorf("%d bytes, expected %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
