package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lkx-os/lkx/internal/sparse"
)

// node is a file or a directory.
type node struct {
	name     string
	short    string // 11 characters, padded with blanks
	long     []uint16
	path     string
	contents *sparse.File // nil for a directory
	children []*node      // in the order they were named
	first    uint32       // cluster
}

// newTree sorts files into directories.
func newTree(files []File) (*node, error) {
	root := &node{}
	for _, f := range files {
		if err := root.add(f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return root, root.shorten()
}

func (n *node) add(f File) error {
	if f.Contents.Size() > maxFile {
		return fmt.Errorf("%d bytes are too many for FAT: a file may have 4 GiB - 1", f.Contents.Size())
	}
	names := strings.Split(f.Path, "/")
	for i, name := range names {
		if err := checkName(name); err != nil {
			return err
		}
		last := i == len(names)-1
		at := slices.IndexFunc(n.children, func(c *node) bool { return strings.EqualFold(c.name, name) })
		switch {
		case at < 0:
			c := &node{name: name, path: strings.Join(names[:i+1], "/")}
			if last {
				c.contents = f.Contents
			}
			n.children = append(n.children, c)
			n = c
		case n.children[at].name != name:
			return fmt.Errorf("%q differs from %q by case alone, which FAT does not tell apart", name, n.children[at].name)
		case last || n.children[at].contents != nil:
			return errors.New("there are two files, or a file and a directory, of that name")
		default:
			n = n.children[at]
		}
	}
	return nil
}

// checkName tells whether a long name can be name (section 7).
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is not a name", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is not UTF-8", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune(`"*:<>?\|`, r) }):
		return fmt.Errorf(`%q has a character that FAT names cannot have (control characters and "*:<>?\|)`, name)
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return fmt.Errorf("%q ends with a dot or a blank, which FAT drops", name)
	case len(utf16.Encode([]rune(name))) > 255:
		return fmt.Errorf("%q is longer than 255 characters of UTF-16", name)
	}
	return nil
}

// shorten gives every name its short form, and the long one that it needs.
func (n *node) shorten() error {
	taken := map[string]bool{}
	for _, c := range n.children {
		if s, ok := plain(c.name); ok {
			c.short = s
			taken[s] = true
		}
		if strings.ToUpper(c.name) != c.name || c.short == "" {
			c.long = utf16.Encode([]rune(c.name))
		}
	}
	for _, c := range n.children {
		if c.short == "" {
			c.short = alias(c.name, taken)
			taken[c.short] = true
		}
		if c.contents == nil {
			if err := c.shorten(); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain is a name that is a short one but for lower case (section 6.1): boot
// loaders of boards read no other.
func plain(name string) (string, bool) {
	base, ext, dot := strings.Cut(strings.ToUpper(name), ".")
	ok := len(base) >= 1 && len(base) <= 8 && len(ext) <= 3 && (!dot || ext != "") &&
		strings.IndexFunc(base+ext, func(r rune) bool { return !isShort(r) }) < 0
	return fmt.Sprintf("%-8s%-3s", base, ext), ok
}

func isShort(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("$%'-_@~`!(){}^#&", r)
}

// alias is a short name with a number that is not taken (section 7.4).
func alias(name string, taken map[string]bool) string {
	keep := func(s string, n int) string {
		out := strings.Map(func(r rune) rune {
			switch {
			case r == '.' || r == ' ':
				return -1
			case isShort(r):
				return r
			}
			return '_'
		}, strings.ToUpper(s))
		return out[:min(len(out), n)]
	}
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	for n := 1; ; n++ {
		tail := "~" + strconv.Itoa(n)
		if s := fmt.Sprintf("%-8s%-3s", keep(base, 8-len(tail))+tail, keep(ext, 3)); !taken[s] {
			return s
		}
	}
}

// shortLabel is a volume label of 11 characters (section 7.1).
func shortLabel(label string) (string, error) {
	if label == "" {
		return "NO NAME    ", nil
	}
	if len(label) > 11 || strings.IndexFunc(label, func(r rune) bool { return !isShort(r) && r != ' ' }) >= 0 {
		return "", fmt.Errorf("%q cannot be a volume label: up to 11 upper-case letters, digits and blanks can", label)
	}
	return fmt.Sprintf("%-11s", label), nil
}

// slots is how many entries the directory n has.
func (n *node) slots(root bool) int64 {
	total := int64(2) // "." and ".."
	if root {
		total = 1 // the label
	}
	for _, c := range n.children {
		total += 1 + int64(len(c.long)+12)/13
	}
	return total
}

// clusters is how many clusters all below n has, and n itself unless it is the
// root directory of FAT16.
func (n *node) clusters(g *geometry) int64 {
	total := int64(0)
	if n.path != "" || g.bits == 32 {
		total = n.own(g)
	}
	for _, c := range n.children {
		if c.contents == nil {
			total += c.clusters(g)
		} else {
			total += c.own(g)
		}
	}
	return total
}

// own is how many clusters n itself has.
func (n *node) own(g *geometry) int64 {
	size := n.slots(n.path == "") * slot
	if n.contents != nil {
		size = n.contents.Size()
	}
	per := g.cluster * sector
	return (size + per - 1) / per
}

// dosTime is a time as directory entries have it: two seconds in 5 bits, minutes
// in 6, hours in 5; then days in 5, months in 4, years since 1980 in 7 (section 6.2).
func dosTime(epoch int64) [4]byte {
	t := time.Unix(epoch, 0).UTC()
	if t.Year() < 1980 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	} else if t.Year() > 2107 {
		t = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	}
	var b [4]byte
	binary.LittleEndian.PutUint16(b[0:], uint16(t.Hour()<<11|t.Minute()<<5|t.Second()/2))
	binary.LittleEndian.PutUint16(b[2:], uint16((t.Year()-1980)<<9|int(t.Month())<<5|t.Day()))
	return b
}
