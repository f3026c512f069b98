package iso9660

import (
	"fmt"
	"strings"
)

const (
	maxFileID = 30 // name and extension, without the dot; ECMA-119 7.5.1
	maxDirID  = 31 // 7.6.3
	maxExt    = 8  // ours: leaves room for the name
)

// identify gives the children of one directory identifiers that differ, for
// readers without Rock Ridge: capitals, digits and _ (ECMA-119 7.4.1). Where
// names become equal, the first of the tree keeps its own and the others end in
// numbers. A file and a directory never differ by the dot alone.
func identify(children []*node) {
	used := make(map[string]bool, len(children))
	next := map[string]int{}
	for _, n := range children {
		base, ext, dot, most := n.name(), "", "", maxDirID
		if !n.isDir() {
			dot = "."
			if i := strings.LastIndexByte(base, '.'); i > 0 {
				base, ext = base[:i], dChars(base[i+1:], maxExt)
			}
			most = maxFileID - len(ext)
		}
		base = dChars(base, most)
		id := base
		for key := base + "." + ext; used[id+"."+ext]; {
			digits := fmt.Sprintf("%03d", next[key])
			next[key]++
			id = base[:min(len(base), most-len(digits))] + digits
		}
		used[id+"."+ext] = true
		n.id = id + dot + ext
	}
}

// dChars is s in d-characters, cut to most of them.
func dChars(s string, most int) string {
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z':
			b[i] = c - 'a' + 'A'
		case (c < 'A' || c > 'Z') && (c < '0' || c > '9'):
			b[i] = '_'
		}
	}
	return string(b)
}
