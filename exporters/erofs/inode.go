package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/tree"
)

const (
	compactSize  = 32 // struct erofs_inode_compact
	extendedSize = 64 // struct erofs_inode_extended

	formatExtended = 1      // i_format, bit 0
	layoutPlain    = 0 << 1 // EROFS_INODE_FLAT_PLAIN, from bit 1 on
	layoutInline   = 2 << 1 // EROFS_INODE_FLAT_INLINE
	noBlock        = math.MaxUint32
)

// encode writes n and its extended attributes to b. start is the first block of
// contents. Times of compact inodes are that of the file system.
func (n *inode) encode(b []byte, start, epoch int64) {
	e := &n.entry
	format := uint16(layoutPlain)
	if n.inline > 0 {
		format = layoutInline
	}
	at := uint32(noBlock) // i_u: block or device number
	switch {
	case n.length > n.inline:
		at = uint32(start + n.block)
	case e.Type() == tree.TypeBlock || e.Type() == tree.TypeChar:
		minor := tree.Minor(e.Rdev)
		at = minor&0xff | tree.Major(e.Rdev)<<8 | minor&^0xff<<12
	}
	var icount uint16
	if len(n.xattrs) > 0 {
		icount = uint16((len(n.xattrs)-xattrHeader)/4 + 1)
	}
	le.PutUint16(b[2:], icount)
	le.PutUint16(b[4:], uint16(e.Mode))
	if !n.extended {
		le.PutUint16(b[0:], format)
		le.PutUint16(b[6:], uint16(n.nlink))
		le.PutUint32(b[8:], uint32(n.length))
		le.PutUint32(b[16:], at)
		le.PutUint32(b[20:], n.number)
		le.PutUint16(b[24:], uint16(e.UID))
		le.PutUint16(b[26:], uint16(e.GID))
		copy(b[compactSize:], n.xattrs)
		return
	}
	le.PutUint16(b[0:], format|formatExtended)
	le.PutUint64(b[8:], uint64(n.length))
	le.PutUint32(b[16:], at)
	le.PutUint32(b[20:], n.number)
	le.PutUint32(b[24:], e.UID)
	le.PutUint32(b[28:], e.GID)
	le.PutUint64(b[32:], uint64(epoch)) // i_mtime
	le.PutUint32(b[44:], n.nlink)
	copy(b[extendedSize:], n.xattrs)
}

const (
	xattrHeader   = 12 // struct erofs_xattr_ibody_header
	xattrEntry    = 4  // struct erofs_xattr_entry
	maxXattrCount = math.MaxUint16
)

// xattrPrefixes are EROFS_XATTR_INDEX_*: a number stands for the beginning of a
// name. Those of POSIX ACLs are whole names.
var xattrPrefixes = []struct {
	index  byte
	prefix string
	whole  bool
}{
	{1, "user.", false},
	{2, "system.posix_acl_access", true},
	{3, "system.posix_acl_default", true},
	{4, "trusted.", false},
	{6, "security.", false},
}

// encodeXattrs is the extended attributes as they stand behind an inode, none of
// them shared; nil for none.
func encodeXattrs(attrs map[string]string) ([]byte, error) {
	if len(attrs) == 0 {
		return nil, nil
	}
	out := make([]byte, xattrHeader)
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		value := attrs[key]
		i := slices.IndexFunc(xattrPrefixes, func(p struct {
			index  byte
			prefix string
			whole  bool
		},
		) bool {
			return key == p.prefix || !p.whole && strings.HasPrefix(key, p.prefix)
		})
		if i < 0 {
			return nil, fmt.Errorf("an erofs cannot hold the extended attribute %s", key)
		}
		rest := strings.TrimPrefix(key, xattrPrefixes[i].prefix)
		if len(rest) > math.MaxUint8 || len(value) > math.MaxUint16 || rest == "" && !xattrPrefixes[i].whole {
			return nil, fmt.Errorf("the extended attribute %s has a name of %d bytes and a value of %d, which an erofs cannot hold", key, len(key), len(value))
		}
		out = append(out, byte(len(rest)), xattrPrefixes[i].index)
		out = le.AppendUint16(out, uint16(len(value)))
		out = append(append(out, rest...), value...)
		out = append(out, make([]byte, -len(out)&3)...)
	}
	if (len(out)-xattrHeader)/4+1 > maxXattrCount {
		return nil, errors.New("there are more extended attributes than an erofs can hold")
	}
	return out, nil
}

const dirent = 12 // struct erofs_dirent

// fileTypes are those of dirents: EROFS_FT_*.
var fileTypes = map[uint32]byte{
	tree.TypeRegular: 1, tree.TypeDir: 2, tree.TypeChar: 3, tree.TypeBlock: 4, tree.TypeFIFO: 5, tree.TypeSocket: 6, tree.TypeSymlink: 7,
}

// dirBlocks cuts a directory's entries into those of each block.
func (n *inode) dirBlocks(yield func(names []*name, used int) bool) {
	first, used := 0, 0
	for i, e := range n.names {
		need := dirent + len(e.text)
		if used+need > blockSize {
			if !yield(n.names[first:i], used) {
				return
			}
			first, used = i, 0
		}
		used += need
	}
	yield(n.names[first:], used)
}

// dirSize is how many bytes a directory's contents have.
func (n *inode) dirSize() int64 {
	var blocks, last int64
	for _, used := range n.dirBlocks {
		blocks++
		last = int64(used)
	}
	return (blocks-1)*blockSize + last
}

// directory is a directory's contents: in each block the entries, then their names.
func (n *inode) directory() []byte {
	var out bytes.Buffer
	for names, used := range n.dirBlocks {
		out.Write(make([]byte, -out.Len()&(blockSize-1)))
		b := make([]byte, len(names)*dirent, used)
		for i, e := range names {
			le.PutUint64(b[i*dirent:], uint64(e.inode.off/slotSize)) // nid
			le.PutUint16(b[i*dirent+8:], uint16(len(b)))             // nameoff
			b[i*dirent+10] = fileTypes[e.inode.entry.Type()]
			b = append(b, e.text...)
		}
		out.Write(b)
	}
	return out.Bytes()
}
