// Package probe tells what is on a block device: a file system that can be a
// system's root, with what it is known by, and the identity of a partition.
package probe

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// FileSystem is what a superblock says.
type FileSystem struct {
	Type  string // as mount(2) takes it: "squashfs", "erofs", "iso9660"
	UUID  string // lower case; "" for none
	Label string // without the padding; "" for none
	Size  int64  // bytes of the device that it takes
}

// ErrUnknown says that a device has none of the file systems known here.
var ErrUnknown = errors.New("no squashfs, erofs or iso9660")

// Read finds the file system on a device. Other errors than [ErrUnknown] are of
// the device.
func Read(r io.ReaderAt) (FileSystem, error) {
	for _, read := range []func(io.ReaderAt) (FileSystem, error){squashfs, erofs, iso9660} {
		if fs, err := read(r); err != ErrUnknown {
			return fs, err
		}
	}
	return FileSystem{}, ErrUnknown
}

// block reads what must be there if the device has a file system of the kind.
func block(r io.ReaderAt, offset int64, length int) ([]byte, error) {
	buf := make([]byte, length)
	if n, err := r.ReadAt(buf, offset); n < length {
		if err == io.EOF {
			return nil, ErrUnknown
		}
		return nil, fmt.Errorf("reading at %d: %w", offset, err)
	}
	return buf, nil
}

var little = binary.LittleEndian

// A squashfs has no identity of its own. lkx writes one behind it, in the first
// block of 4 KiB that the file system does not use: these 8 bytes, then a UUID.
const (
	squashfsIdentity = "lkx-uuid"
	squashfsBlock    = 4096
)

// squashfs reads a superblock of version 4 (Squashfs Binary Format, "The
// Superblock"), which is at the start of the device.
func squashfs(r io.ReaderAt) (FileSystem, error) {
	sb, err := block(r, 0, 96)
	if err != nil {
		return FileSystem{}, err
	}
	used := int64(little.Uint64(sb[40:])) // bytes_used
	if string(sb[:4]) != "hsqs" || little.Uint16(sb[28:]) != 4 || used < 96 || used > 1<<60 {
		return FileSystem{}, ErrUnknown
	}
	fs := FileSystem{Type: "squashfs", Size: used}
	id, err := block(r, (used+squashfsBlock-1)/squashfsBlock*squashfsBlock, len(squashfsIdentity)+16)
	if err == nil && string(id[:len(squashfsIdentity)]) == squashfsIdentity {
		fs.UUID = uuid(id[len(squashfsIdentity):])
	} else if err == ErrUnknown {
		err = nil // the device ends with the file system
	}
	return fs, err
}

// erofs reads a superblock (struct erofs_super_block of Linux's
// fs/erofs/erofs_fs.h), which is 1 KiB into the device.
func erofs(r io.ReaderAt) (FileSystem, error) {
	sb, err := block(r, 1024, 128)
	if err != nil {
		return FileSystem{}, err
	}
	shift := sb[12] // blkszbits
	if little.Uint32(sb) != 0xE0F5E1E2 || shift < 9 || shift > 16 {
		return FileSystem{}, ErrUnknown
	}
	return FileSystem{
		Type:  "erofs",
		UUID:  uuid(sb[48:64]),
		Label: strings.TrimRight(string(sb[64:80]), "\x00"), // volume_name
		Size:  int64(little.Uint32(sb[36:])) << shift,       // blocks
	}, nil
}

// iso9660 reads the primary volume descriptor (ECMA-119, 8.4). It must be the
// first descriptor, in sector 16 of 2 KiB, where everyone puts it.
func iso9660(r io.ReaderAt) (FileSystem, error) {
	pvd, err := block(r, 16*2048, 2048)
	if err != nil {
		return FileSystem{}, err
	}
	if string(pvd[:7]) != "\x01CD001\x01" {
		return FileSystem{}, ErrUnknown
	}
	fs := FileSystem{
		Type:  "iso9660",
		Label: strings.TrimRight(string(pvd[40:72]), " \x00"),                   // 8.4.7 volume identifier
		Size:  int64(little.Uint32(pvd[80:])) * int64(little.Uint16(pvd[128:])), // 8.4.8, 8.4.12
		UUID:  cmp.Or(isoDate(pvd[830:846]), isoDate(pvd[813:829])),             // 8.4.27 modification, 8.4.26 creation
	}
	return fs, nil
}

// isoDate makes of a date (ECMA-119, 8.4.26.1, without its zone) what blkid(8)
// takes for the UUID: "2024-12-31-23-59-59-00". It is "" for a date not given.
func isoDate(digits []byte) string {
	if strings.Trim(string(digits), "0 \x00") == "" {
		return ""
	}
	d := string(digits)
	return strings.Join([]string{d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:16]}, "-")
}

// uuid formats 16 bytes (RFC 9562, section 4); all of them 0 is none.
func uuid(b []byte) string {
	if string(b) == strings.Repeat("\x00", 16) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
