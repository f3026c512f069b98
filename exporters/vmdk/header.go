package vmdk

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sectors of what stands at fixed places.
const (
	descriptorAt   = 1
	descriptorSize = 20
	directoryAt    = descriptorAt + descriptorSize
)

// flags of the header: its newline test is valid, grains are compressed, and
// each begins with a marker that tells its address.
const flags = 1<<0 | 1<<16 | 1<<17

// putHeader writes the SparseExtentHeader ("Hosted Sparse Extent Header") of a
// disk of capacity sectors, whose first grain is at sector overHead. Fields are
// little endian, counted in sectors, and not aligned.
func putHeader(b []byte, capacity, overHead int64) {
	le := binary.LittleEndian
	copy(b, "KDMV")                                    // magicNumber
	le.PutUint32(b[4:], 3)                             // version
	le.PutUint32(b[8:], flags)                         // flags
	le.PutUint64(b[12:], uint64(capacity))             // capacity
	le.PutUint64(b[20:], grainLBAs)                    // grainSize
	le.PutUint64(b[28:], descriptorAt)                 // descriptorOffset
	le.PutUint64(b[36:], descriptorSize)               // descriptorSize
	le.PutUint32(b[44:], tableLen)                     // numGTEsPerGT
	le.PutUint64(b[48:], 0)                            // rgdOffset: no second directory
	le.PutUint64(b[56:], directoryAt)                  // gdOffset
	le.PutUint64(b[64:], uint64(overHead))             // overHead
	b[72] = 0                                          // uncleanShutdown
	b[73], b[74], b[75], b[76] = '\n', ' ', '\r', '\n' // show a transfer as text
	le.PutUint16(b[77:], 1)                            // compressAlgorithm: deflate
}

// A BIOS translates disks over 4 GB to 255 heads and 63 sectors; for smaller
// ones nothing asks.
const (
	heads        = 255
	trackSectors = 63
	maxCylinders = 65535
)

// descriptor is the text of the embedded disk descriptor ("The Descriptor
// File"). Everything from ddb.adapterType on is what VMware's tools say about
// a disk that they made for open-vm-tools; hypervisors read the adapter from
// the virtual machine, not from here.
func descriptor(capacity int64, o Options) (string, error) {
	if err := checkName(o.Name); err != nil {
		return "", err
	}
	cid := binary.BigEndian.Uint32(o.LongID[12:])
	if cid >= 0xfffffffe { // these mean: no parent, and a disk of zeros
		cid &= 0x7fffffff
	}
	cylinders := min((capacity+heads*trackSectors-1)/(heads*trackSectors), maxCylinders)
	text := fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=%08x
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "%s"

# The Disk Data Base
#DDB

ddb.longContentID = "%x%08x"
ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.adapterType = "lsilogic"
ddb.toolsInstallType = "4"
ddb.toolsVersion = "2147483647"
`, cid, capacity, o.Name, o.LongID[:12], cid, cylinders, heads, trackSectors)
	return text, nil
}

func checkName(name string) error {
	control := strings.ContainsFunc(name, unicode.IsControl)
	if name == "" || len(name) > 255 || control || strings.Contains(name, `"`) || !utf8.ValidString(name) {
		return fmt.Errorf("a VMDK cannot be named %q: 1 to 255 bytes of UTF-8 without quotes and control characters", name)
	}
	return nil
}
