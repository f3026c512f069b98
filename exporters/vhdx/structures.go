package vhdx

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"unicode/utf16"
)

var (
	regionBAT      = parse("2DC27766-F623-4200-9D64-115E9BFD4A08") // 2.2.3.2
	regionMetadata = parse("8B7CA206-4790-4B9A-B8FE-575F050F886E")

	itemFileParameters = parse("CAA16737-FA36-4D43-B3B6-33F0AA44E76B") // 2.6.2
	itemSize           = parse("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
	itemPage83         = parse("BECA12AB-B2E6-4523-93EF-C309E000C746")
	itemLogicalSector  = parse("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
	itemPhysicalSector = parse("CDA348C7-445D-4471-9CC9-E9885251C556")

	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Flags of a metadata table entry (2.6.1.2).
const (
	isVirtualDisk = 2
	isRequired    = 4
)

// parse is the GUID that s prints, in that order.
func parse(s string) (g [16]byte) {
	if n, err := hex.Decode(g[:], []byte(strings.ReplaceAll(s, "-", ""))); n != len(g) || err != nil {
		panic(s + " is no GUID")
	}
	return g
}

// appendGUID appends g in binary form: three numbers, then eight bytes.
func appendGUID(b []byte, g [16]byte) []byte {
	be := binary.BigEndian
	b = le.AppendUint32(b, be.Uint32(g[:]))
	b = le.AppendUint16(b, be.Uint16(g[4:]))
	b = le.AppendUint16(b, be.Uint16(g[6:]))
	return append(b, g[8:]...)
}

// fileType is the file type identifier (2.2.1).
func fileType() []byte {
	b := []byte("vhdxfile")
	for _, c := range utf16.Encode([]rune("lkx")) { // Creator
		b = le.AppendUint16(b, c)
	}
	return b
}

// header is a header (2.2.2). Of the two, the one with the higher number is
// current.
func header(number uint64, o Options) []byte {
	b := []byte("head\x00\x00\x00\x00")
	b = le.AppendUint64(b, number)
	b = appendGUID(b, o.FileWrite)
	b = appendGUID(b, o.DataWrite)
	b = appendGUID(b, [16]byte{}) // 48: LogGuid: nothing to replay
	b = le.AppendUint16(b, 0)     // 64: LogVersion
	b = le.AppendUint16(b, 1)     // 66: Version
	b = le.AppendUint32(b, metadataOffset-logOffset)
	b = le.AppendUint64(b, logOffset)
	return sum(b, 4*kib)
}

// regionTable is a region table (2.2.3), with length bytes for the block
// allocation table.
func regionTable(length int64) []byte {
	b := []byte("regi\x00\x00\x00\x00")
	b = le.AppendUint32(b, 2) // EntryCount
	b = le.AppendUint32(b, 0)
	region := func(id [16]byte, off, length int64) {
		b = appendGUID(b, id)
		b = le.AppendUint64(b, uint64(off))
		b = le.AppendUint32(b, uint32(length))
		b = le.AppendUint32(b, 1) // Required
	}
	region(regionBAT, tableOffset, length)
	region(regionMetadata, metadataOffset, tableOffset-metadataOffset)
	return sum(b, 64*kib)
}

// sum is b with zeros up to size, and their checksum at offset 4.
func sum(b []byte, size int) []byte {
	b = append(b, make([]byte, size-len(b))...)
	le.PutUint32(b[4:], crc32.Checksum(b, castagnoli))
	return b
}

// metadata is the metadata table (2.6.1) and its items (2.6.2).
func metadata(size, block int64, o Options) []byte {
	table, items := []byte("metadata"), []byte(nil)
	table = le.AppendUint16(table, 0)
	table = le.AppendUint16(table, 5) // EntryCount
	table = append(table, make([]byte, 20)...)
	item := func(id [16]byte, flags uint32, value []byte) {
		table = appendGUID(table, id)
		table = le.AppendUint32(table, uint32(itemsOffset+len(items)))
		table = le.AppendUint32(table, uint32(len(value)))
		table = le.AppendUint32(table, flags)
		table = le.AppendUint32(table, 0)
		items = append(items, value...)
	}
	// The upper half of the parameters are flags: blocks may go, no parent.
	item(itemFileParameters, isRequired, le.AppendUint64(nil, uint64(block)))
	item(itemSize, isRequired|isVirtualDisk, le.AppendUint64(nil, uint64(size)))
	item(itemPage83, isRequired|isVirtualDisk, appendGUID(nil, o.Page83))
	item(itemLogicalSector, isRequired|isVirtualDisk, le.AppendUint32(nil, logicalSector))
	item(itemPhysicalSector, isRequired|isVirtualDisk, le.AppendUint32(nil, physicalSector))
	return append(append(table, make([]byte, itemsOffset-len(table))...), items...)
}
