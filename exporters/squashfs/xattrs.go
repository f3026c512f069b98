package squashfs

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

const noXattrs = math.MaxUint32

// xattrPrefixes are the kinds of extended attributes, by their numbers ("Xattr
// Table").
var xattrPrefixes = []string{"user.", "trusted.", "security."}

// xattrs is the table of extended attributes. Inodes with the same ones share
// an entry.
type xattrs struct {
	pairs metadata
	sets  []byte // xattr_id entries, 16 bytes each
	index map[string]uint32
}

// set is the number of a set of attributes; noXattrs for none.
func (x *xattrs) set(attrs map[string]string) (uint32, error) {
	if len(attrs) == 0 {
		return noXattrs, nil
	}
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		kind := slices.IndexFunc(xattrPrefixes, func(p string) bool { return strings.HasPrefix(key, p) })
		if kind < 0 {
			return 0, fmt.Errorf("a squashfs cannot hold the extended attribute %s", key)
		}
		rest, value := key[len(xattrPrefixes[kind]):], attrs[key]
		if rest == "" || len(rest) > math.MaxUint8 || len(value) > math.MaxUint16 {
			return 0, fmt.Errorf("the extended attribute %s has a name of %d bytes and a value of %d, which a squashfs cannot hold", key, len(key), len(value))
		}
		b = le.AppendUint16(b, uint16(kind))
		b = le.AppendUint16(b, uint16(len(rest)))
		b = append(b, rest...)
		b = le.AppendUint32(b, uint32(len(value)))
		b = append(b, value...)
	}
	if n, ok := x.index[string(b)]; ok {
		return n, nil
	}
	n := uint32(len(x.sets) / 16)
	x.index[string(b)] = n
	x.sets = le.AppendUint64(x.sets, x.pairs.ref())
	x.sets = le.AppendUint32(x.sets, uint32(len(attrs)))
	x.sets = le.AppendUint32(x.sets, uint32(len(b)))
	x.pairs.add(b)
	return n, nil
}

// write writes the table and returns where its header is; noTable if there are
// no attributes.
func (x *xattrs) write(w *writer) (uint64, error) {
	if len(x.sets) == 0 {
		return noTable, nil
	}
	x.pairs.flush()
	start := uint64(w.pos)
	if _, err := w.Write(x.pairs.blocks); err != nil {
		return 0, err
	}
	ids := &metadata{z: x.pairs.z}
	ids.add(x.sets)
	header := le.AppendUint64(nil, start)
	header = le.AppendUint32(header, uint32(len(x.sets)/16))
	return lookup(w, ids, append(header, 0, 0, 0, 0))
}
