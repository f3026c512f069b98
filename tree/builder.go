package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// Opener opens the contents of a regular file.
type Opener func() (io.ReadCloser, error)

// Builder makes a tree entry by entry, later over earlier, as image layers are
// applied (image-spec, layer.md). The zero value is ready. It keeps names and
// metadata in memory, never contents.
type Builder struct {
	// Origin is that of every entry that is put without one.
	Origin *Origin

	root  node
	layer int
}

// An inode is what several names can share.
type inode struct {
	entry Entry // Path and Hard are not used
	open  Opener
	layer int  // that last wrote it
	made  bool // a directory made only because something needed it
}

type node struct {
	*inode
	children map[string]*node
}

// maxLinks is how many symbolic links are followed on the way to one name, as
// in path_resolution(7).
const maxLinks = 40

// NextLayer begins a layer: whiteouts remove only what earlier layers put.
func (b *Builder) NextLayer() { b.layer++ }

// Put places one entry. A directory keeps the children it has; anything else
// replaces what had its name, with all below. Directories on the way that do
// not exist are made with mode 0755 and owner root.
func (b *Builder) Put(e Entry, open Opener) error {
	dir, name, err := b.parent(e.Path)
	if err != nil {
		return err
	}
	if e.Origin == nil {
		e.Origin = b.Origin
	}
	n := &node{inode: &inode{entry: e, open: open, layer: b.layer}}
	if old := dir.children[name]; old != nil && old.isDir() && n.isDir() {
		n.children = old.children
	}
	dir.put(name, n)
	return nil
}

// Link makes name another name of the file target. As on an overlay file
// system, a target from an earlier layer is copied up first: names that it has
// there stay with the old file.
func (b *Builder) Link(name, target string) error {
	t, err := b.lookup(target)
	if err != nil {
		return fmt.Errorf("linking %s to %s: %w", name, target, err)
	}
	if t.isDir() {
		return fmt.Errorf("linking %s to %s: the target is a directory", name, target)
	}
	if t.layer != b.layer {
		up := *t.inode
		up.layer = b.layer
		t.inode = &up
	}
	dir, base, err := b.parent(name)
	if err != nil {
		return err
	}
	dir.put(base, &node{inode: t.inode})
	return nil
}

// Chattr gives the file name the owner, the permissions and the extended
// attributes of e, as chown(2) and chmod(2) would: all its names have them, and
// capabilities that e does not give again are lost.
func (b *Builder) Chattr(name string, e Entry) error {
	n, err := b.lookup(name)
	if err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	to := &n.entry
	to.UID, to.GID = e.UID, e.GID
	if to.Type() != TypeSymlink {
		to.Mode = to.Type() | e.Perm()
	}
	attrs := maps.Clone(to.Xattrs)
	delete(attrs, capability)
	for k, v := range e.Xattrs {
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[k] = v
	}
	to.Xattrs = attrs
	return nil
}

// Remove takes away what earlier layers put at name, and below it.
func (b *Builder) Remove(name string) {
	dir, base, err := b.parent(name)
	if err != nil {
		return
	}
	if n := dir.children[base]; n != nil && !b.prune(n) {
		delete(dir.children, base)
	}
}

// Clear takes away what earlier layers put below the directory name.
func (b *Builder) Clear(name string) {
	if n, err := b.lookup(name); err == nil {
		b.prune(n)
	}
}

// prune removes what earlier layers put below n, and tells whether anything of
// this layer is left, n included.
func (b *Builder) prune(n *node) bool {
	maps.DeleteFunc(n.children, func(_ string, c *node) bool { return !b.prune(c) })
	return len(n.children) > 0 || n.inode != nil && n.layer == b.layer
}

// Add places all of t below the directory prefix ("" is the root), except the
// paths of t that skip says, and what is below them. skip may be nil.
func (b *Builder) Add(prefix string, t Tree, skip func(path string) bool) error {
	first := map[int]string{}
	var skipped string
	for e, err := range t.All() {
		if err != nil {
			return err
		}
		from := e.Path
		if skipped != "" && strings.HasPrefix(from, skipped+"/") {
			continue
		}
		if skip != nil && skip(from) {
			skipped = from
			continue
		}
		e.Path = path.Join(prefix, from)
		if e.Hard != 0 && first[e.Hard] != "" {
			if err := b.Link(e.Path, first[e.Hard]); err != nil {
				return err
			}
			continue
		}
		if e.Hard != 0 {
			first[e.Hard] = e.Path
		}
		if err := b.Put(e, func() (io.ReadCloser, error) { return t.Open(from) }); err != nil {
			return err
		}
	}
	return nil
}

// parent finds the directory that holds name, made where it does not exist.
// Symbolic links on the way are followed inside the tree.
func (b *Builder) parent(name string) (*node, string, error) {
	clean := path.Clean("/" + name)[1:]
	if clean == "" {
		return nil, "", fmt.Errorf("placing %q: not a name below the root", name)
	}
	dir, base := path.Split(clean)
	n, err := b.dir(strings.TrimSuffix(dir, "/"), true)
	if err != nil {
		return nil, "", fmt.Errorf("placing %s: %w", name, err)
	}
	return n, base, nil
}

// dir finds a directory. Missing ones are made if mk is set.
func (b *Builder) dir(name string, mk bool) (*node, error) {
	n, at, rest, links := &b.root, "", name, 0
	for rest != "" {
		var elem string
		elem, rest, _ = strings.Cut(rest, "/")
		child := n.children[elem]
		switch {
		case child == nil && !mk:
			return nil, fs.ErrNotExist
		case child == nil:
			child = &node{inode: &inode{entry: Entry{Mode: TypeDir | 0o755}, layer: b.layer, made: true}}
			n.put(elem, child)
		case child.entry.Type() == TypeSymlink:
			if links++; links > maxLinks {
				return nil, fmt.Errorf("%s: too many symbolic links", name)
			}
			to := child.entry.Link
			if !path.IsAbs(to) {
				to = path.Join("/", at, to)
			}
			n, at, rest = &b.root, "", strings.Trim(path.Join(to, rest), "/")
			continue
		case !child.isDir():
			return nil, fmt.Errorf("%s is not a directory", path.Join(at, elem))
		}
		n, at = child, path.Join(at, elem)
	}
	return n, nil
}

func (b *Builder) lookup(name string) (*node, error) {
	clean := path.Clean("/" + name)[1:]
	if clean == "" {
		return &b.root, nil
	}
	dir, base := path.Split(clean)
	n, err := b.dir(strings.TrimSuffix(dir, "/"), false)
	if err != nil {
		return nil, err
	}
	if c := n.children[base]; c != nil {
		return c, nil
	}
	return nil, fs.ErrNotExist
}

func (n *node) isDir() bool { return n.inode == nil || n.entry.Type() == TypeDir }

func (n *node) put(name string, c *node) {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[name] = c
}

// Tree is what was built. The builder must not be used after it.
func (b *Builder) Tree() Tree { return b.tree(func(*node) bool { return true }) }

// Overlay is what was put, to be laid over a tree that has the directories it
// needs: those that nothing put are left out.
func (b *Builder) Overlay() Tree { return b.tree(func(n *node) bool { return !n.made }) }

func (b *Builder) tree(keep func(*node) bool) Tree {
	t := &memory{at: map[string]Opener{}}
	names := map[*inode]int{}
	b.root.walk("", func(p string, n *node) { names[n.inode]++ })
	hard := map[*inode]int{}
	b.root.walk("", func(p string, n *node) {
		if !keep(n) {
			return
		}
		e := n.entry
		e.Path, e.Hard = p, 0
		if names[n.inode] > 1 {
			if hard[n.inode] == 0 {
				hard[n.inode] = len(hard) + 1
			}
			e.Hard = hard[n.inode]
		}
		t.entries = append(t.entries, e)
		if n.open != nil {
			t.at[p] = n.open
		}
	})
	return t
}

// walk calls f for all below n in the order of [Tree].
func (n *node) walk(at string, f func(string, *node)) {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		c, p := n.children[name], path.Join(at, name)
		f(p, c)
		c.walk(p, f)
	}
}

// memory is a tree whose names and metadata are in memory.
type memory struct {
	entries []Entry
	at      map[string]Opener
}

func (t *memory) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range t.entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (t *memory) Open(name string) (io.ReadCloser, error) {
	open, ok := t.at[name]
	if !ok {
		return nil, fmt.Errorf("opening %s: %w", name, errors.Join(fs.ErrNotExist, errNotRegular))
	}
	return open()
}

var errNotRegular = errors.New("no regular file has this name")

// Merge is all trees laid over each other, later over earlier.
func Merge(trees ...Tree) (Tree, error) {
	var b Builder
	for _, t := range trees {
		b.NextLayer()
		if err := b.Add("", t, nil); err != nil {
			return nil, err
		}
	}
	return b.Tree(), nil
}

// Bytes opens data as a file's contents.
func Bytes(data string) Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil }
}
