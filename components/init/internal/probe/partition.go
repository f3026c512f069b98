package probe

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

var errNoTable = errors.New("no partition table that lkx knows")

// PartitionUUID is what PARTUUID= means for a partition of disk, which the
// kernel has found and numbered, from 1: in a GPT the partition's GUID, with an
// MBR the disk's signature and the number, "1234abcd-01", as the kernel's own
// root=PARTUUID= has it. size is the disk's and sector that of its logical
// blocks, in bytes.
func PartitionUUID(disk io.ReaderAt, size, sector int64, number int) (string, error) {
	mbr, err := block(disk, 0, 512)
	if err != nil {
		return "", err
	}
	if mbr[510] != 0x55 || mbr[511] != 0xAA {
		return "", errNoTable
	}
	for entry := range 4 {
		if mbr[446+16*entry+4] == 0xEE { // protective: UEFI 2.10, 5.2.3
			return gptUUID(disk, size, sector, number)
		}
	}
	return fmt.Sprintf("%08x-%02x", little.Uint32(mbr[440:]), number), nil
}

// gptUUID reads the table at the disk's start, or the copy at its end.
func gptUUID(disk io.ReaderAt, size, sector int64, number int) (string, error) {
	list, err := table(disk, sector, sector)
	if err == errNoTable {
		list, err = table(disk, size-sector, sector)
	}
	if err != nil {
		return "", err
	}
	for _, p := range list {
		if p.Number == number {
			return p.UUID, nil
		}
	}
	return "", errNoTable
}

// Partition is an entry of a GUID partition table.
type Partition struct {
	Number    int    // from 1
	UUID      string // its GUID
	Off, Size int64  // bytes
}

// Partitions are those of a CD that is also a disk. They are counted in blocks
// of 512 bytes, whatever the drive's are, and the kernel makes no devices of them.
func Partitions(cd io.ReaderAt) ([]Partition, error) { return table(cd, 512, 512) }

// maxEntries is how many bytes of partition entries are looked at: 4 times what
// tables have.
const maxEntries = 64 << 10

// table reads the GUID partition table whose header (UEFI 2.10, 5.3.2) is at
// offset. The checksums must be right.
func table(disk io.ReaderAt, offset, sector int64) ([]Partition, error) {
	header, err := block(disk, offset, 512)
	if err == ErrUnknown {
		return nil, errNoTable
	}
	if err != nil {
		return nil, err
	}
	length := little.Uint32(header[12:]) // HeaderSize
	if string(header[:8]) != "EFI PART" || length < 92 || length > 512 {
		return nil, errNoTable
	}
	sum := little.Uint32(header[16:]) // HeaderCRC32, taken with itself as 0
	clear(header[16:20])
	if crc32.ChecksumIEEE(header[:length]) != sum {
		return nil, errNoTable
	}
	first := little.Uint64(header[72:]) // PartitionEntryLBA
	count := little.Uint32(header[80:]) // NumberOfPartitionEntries
	each := little.Uint32(header[84:])  // SizeOfPartitionEntry
	if each < 128 || uint64(count)*uint64(each) > maxEntries || first > 1<<50 {
		return nil, errNoTable
	}
	entries, err := block(disk, int64(first)*sector, int(count*each))
	if err == ErrUnknown || err == nil && crc32.ChecksumIEEE(entries) != little.Uint32(header[88:]) {
		return nil, errNoTable
	}
	if err != nil {
		return nil, err
	}
	return partitions(entries, int(each), sector), nil
}

// partitions reads the entries that are in use (UEFI 2.10, 5.3.3).
func partitions(entries []byte, each int, sector int64) []Partition {
	var out []Partition
	for i := range len(entries) / each {
		e := entries[i*each:][:each]
		first, last := int64(little.Uint64(e[32:])), int64(little.Uint64(e[40:])) // StartingLBA, EndingLBA
		if uuid(e[:16]) == "" || first <= 0 || last < first || last > 1<<50 {
			continue
		}
		// UniquePartitionGUID: the first three fields are little-endian.
		guid := slices.Clone(e[16:32])
		slices.Reverse(guid[:4])
		slices.Reverse(guid[4:6])
		slices.Reverse(guid[6:8])
		out = append(out, Partition{i + 1, uuid(guid), first * sector, (last - first + 1) * sector})
	}
	return out
}
