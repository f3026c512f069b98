// Package gpt writes GUID partition tables (UEFI Specification 2.10, chapter 5),
// with a protective master boot record that can hold boot code.
//
// It is our own, as a table is three small structures, and go-diskfs's writer
// keeps no boot code and wants a file to write to; the tests read our tables
// with it. Sectors have 512 bytes.
package gpt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/lkx-os/lkx/internal/sparse"
)

// GUID is one as it stands on disk: its first three fields little endian.
type GUID [16]byte

// Parse reads "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"; it panics at anything
// else, for these are constants.
func Parse(s string) GUID {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 {
		panic("gpt: not a GUID: " + s)
	}
	return GUID(b).swapped()
}

// NewGUID is the GUID of what is called name in what has the identity seed: the
// same for the same two (RFC 9562, 5.8: version 8, from SHA-256).
func NewGUID(seed []byte, name string) GUID {
	h := sha256.New()
	h.Write(seed)
	h.Write([]byte{0})
	h.Write([]byte(name))
	g := GUID(h.Sum(nil)[:16])
	g[6] = g[6]&0x0f | 0x80
	g[8] = g[8]&0x3f | 0x80
	return g.swapped()
}

// String is g in its usual form, upper case.
func (g GUID) String() string {
	s := g.swapped()
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", s[0:4], s[4:6], s[6:8], s[8:10], s[10:16]))
}

// swapped is g with the byte order of its first three fields turned round.
func (g GUID) swapped() GUID {
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g
}

// Types of partitions: UEFI's, GRUB's, and those of the UAPI Group's
// Discoverable Partitions Specification.
var (
	EFISystem = Parse("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	BIOSBoot  = Parse("21686148-6449-6E6F-744E-656564454649")
	LinuxData = Parse("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
	BasicData = Parse("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
	RootAMD64 = Parse("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709")
	RootARM64 = Parse("B921B045-1DF0-41C3-AF44-4C6F280D3FAE")
)

// ReadOnly is the attribute of a partition that is to be mounted read-only
// (Discoverable Partitions Specification, bit 60).
const ReadOnly = 1 << 60

// Partition is one partition.
type Partition struct {
	Type, ID   GUID
	Name       string // up to 36 characters of UTF-16
	Off, Size  int64  // bytes; multiples of 512
	Attributes uint64
}

// Table is a partition table.
type Table struct {
	ID         GUID
	Size       int64  // of the disk, in bytes; a multiple of 512
	BootCode   []byte // of the master boot record; up to 440 bytes
	Active     bool   // the protective partition is marked so, which some BIOSes ask for
	Partitions []Partition
}

const (
	sector      = 512
	entries     = 128
	entrySize   = 128
	arraySize   = entries * entrySize / sector // sectors
	firstUsable = 2 + arraySize

	// Reserved is how many bytes at the disk's end are the backup table.
	Reserved = (1 + arraySize) * sector
	// First is the first byte that a partition can have.
	First = firstUsable * sector
)

// Image is the disk with the table alone.
func (t *Table) Image() (*sparse.File, error) {
	array, err := t.array()
	if err != nil {
		return nil, err
	}
	if len(t.BootCode) > 440 {
		return nil, fmt.Errorf("%d bytes of boot code are too many for a master boot record", len(t.BootCode))
	}
	last := t.Size/sector - 1
	f := &sparse.File{}
	f.Put(0, t.protective())
	f.Put(sector, t.header(array, 1, last, 2))
	f.Put(2*sector, array)
	f.Put(t.Size-Reserved, array)
	f.Put(last*sector, t.header(array, last, 1, last-arraySize))
	return f, nil
}

// array is the partition entries (5.3.3).
func (t *Table) array() ([]byte, error) {
	if t.Size%sector != 0 || t.Size < First+Reserved {
		return nil, fmt.Errorf("a disk of %d bytes cannot have a partition table", t.Size)
	}
	if len(t.Partitions) > entries {
		return nil, fmt.Errorf("%d partitions are too many; there can be %d", len(t.Partitions), entries)
	}
	le := binary.LittleEndian
	out := make([]byte, entries*entrySize)
	for i, p := range t.Partitions {
		name := utf16.Encode([]rune(p.Name))
		switch {
		case len(name) > 36:
			return nil, fmt.Errorf("partition name %q is longer than 36 characters", p.Name)
		case p.Off%sector != 0 || p.Size%sector != 0 || p.Size <= 0 || p.Off < First || p.Off+p.Size > t.Size-Reserved:
			return nil, fmt.Errorf("partition %q cannot have %d bytes at byte %d of a disk of %d", p.Name, p.Size, p.Off, t.Size)
		}
		for _, q := range t.Partitions[:i] {
			if p.Off < q.Off+q.Size && q.Off < p.Off+p.Size {
				return nil, fmt.Errorf("partitions %q and %q overlap", q.Name, p.Name)
			}
		}
		e := out[i*entrySize:]
		copy(e[0:], p.Type[:])
		copy(e[16:], p.ID[:])
		le.PutUint64(e[32:], uint64(p.Off/sector))            // StartingLBA
		le.PutUint64(e[40:], uint64((p.Off+p.Size)/sector-1)) // EndingLBA
		le.PutUint64(e[48:], p.Attributes)
		for k, u := range name {
			le.PutUint16(e[56+2*k:], u)
		}
	}
	return out, nil
}

// header is a table's header (5.3.2) at sector own.
func (t *Table) header(array []byte, own, other, arrayAt int64) []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	copy(b, "EFI PART")
	le.PutUint32(b[8:], 0x00010000) // Revision
	le.PutUint32(b[12:], 92)        // HeaderSize
	le.PutUint64(b[24:], uint64(own))
	le.PutUint64(b[32:], uint64(other))
	le.PutUint64(b[40:], firstUsable)
	le.PutUint64(b[48:], uint64((t.Size-Reserved)/sector-1)) // LastUsableLBA
	copy(b[56:], t.ID[:])
	le.PutUint64(b[72:], uint64(arrayAt))
	le.PutUint32(b[80:], entries)
	le.PutUint32(b[84:], entrySize)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(array))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:92]))
	return b
}

// protective is the master boot record (5.2.3), its disk signature from the
// table's GUID.
func (t *Table) protective() []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	copy(b, t.BootCode)
	copy(b[440:444], t.ID[:4]) // UniqueMBRDiskSignature
	e := b[446:]
	if t.Active {
		e[0] = 0x80
	}
	copy(e[1:], []byte{0x00, 0x02, 0x00}) // StartingCHS
	e[4] = 0xee                           // OSType
	copy(e[5:], []byte{0xff, 0xff, 0xff}) // EndingCHS: more than it can say
	le.PutUint32(e[8:], 1)
	le.PutUint32(e[12:], uint32(min(t.Size/sector-1, math.MaxUint32)))
	b[510], b[511] = 0x55, 0xaa
	return b
}
