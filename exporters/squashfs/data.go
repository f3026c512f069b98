package squashfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"

	"github.com/lkx-os/lkx/tree"
)

const (
	noFragment = math.MaxUint32
	stored     = 1 << 24 // in the size of a block: it is not compressed ("Data and Fragment Blocks")
)

// packer turns the contents of files into blocks.
type packer struct {
	tree  tree.Tree
	size  int // of blocks
	pipe  *pipeline
	frags []*placed // fragment blocks
	frag  []byte    // the one that is being filled
	known map[[sha256.Size]byte]*contents
	sizes map[int64]int // how many files have a size
}

// placed is where a block is: known when the pipeline has ended.
type placed struct {
	start int64
	size  uint32 // as it stands in an inode or in the fragment table
}

// writeData writes the contents of all files and tells where fragment blocks are.
func writeData(w io.Writer, t tree.Tree, inodes []*inode, size int, blocks Blocks) ([]*placed, error) {
	pipe, err := newPipeline(w, superSize, size, blocks)
	if err != nil {
		return nil, err
	}
	p := &packer{tree: t, size: size, pipe: pipe, known: map[[sha256.Size]byte]*contents{}, sizes: map[int64]int{}}
	for _, n := range inodes {
		if n.entry.Type() == tree.TypeRegular {
			p.sizes[n.entry.Size]++
		}
	}
	lists := map[*contents][]*placed{}
	for _, n := range inodes {
		if n.entry.Type() != tree.TypeRegular || n.entry.Size == 0 {
			continue
		}
		list, err := p.file(n)
		if err != nil {
			pipe.close()
			return nil, fmt.Errorf("writing %s: %w", n.entry.Path, err)
		}
		if list != nil {
			lists[n.data] = list
		}
	}
	p.flush()
	if err := pipe.close(); err != nil {
		return nil, err
	}
	for c, list := range lists {
		c.start = list[0].start
		for _, b := range list {
			c.blocks = append(c.blocks, b.size)
		}
	}
	return p.frags, nil
}

// file packs one file. The result is its blocks, nil for one that has none of
// its own.
func (p *packer) file(n *inode) ([]*placed, error) {
	if n.entry.Size < int64(p.size) {
		return nil, p.small(n)
	}
	// To read such a file twice costs less than to compress it twice.
	var sum [sha256.Size]byte
	if p.sizes[n.entry.Size] > 1 {
		f, err := p.tree.Open(n.entry.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return nil, err
		}
		sum = [sha256.Size]byte(h.Sum(nil))
		if n.data = p.known[sum]; n.data != nil {
			return nil, nil
		}
	}
	f, err := p.tree.Open(n.entry.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n.data = &contents{frag: noFragment}
	var list []*placed
	for left := n.entry.Size; left > 0; {
		buf := p.pipe.buffer()[:min(left, int64(p.size))]
		if _, err := io.ReadFull(f, buf); err != nil {
			return nil, short(err)
		}
		left -= int64(len(buf))
		empty := zeros(buf)
		if empty {
			n.data.sparse += int64(len(buf))
		}
		list = append(list, p.pipe.add(buf, empty))
	}
	if sum != [sha256.Size]byte{} {
		p.known[sum] = n.data
	}
	return list, ended(f)
}

// begins tells whether the small file path begins a fragment block, whatever came
// before it. One in 64 does: so a changed file changes the blocks near it, and not
// all to the end.
func begins(path string) bool {
	h := fnv.New32a()
	_, _ = io.WriteString(h, path)
	return h.Sum32()%64 == 0
}

// small puts a file smaller than a block into a fragment block.
func (p *packer) small(n *inode) error {
	f, err := p.tree.Open(n.entry.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if len(p.frag)+int(n.entry.Size) > p.size || begins(n.entry.Path) {
		p.flush()
	}
	if p.frag == nil {
		p.frag = p.pipe.buffer()[:0]
	}
	at := len(p.frag)
	buf := p.frag[at : at+int(n.entry.Size)]
	if _, err := io.ReadFull(f, buf); err != nil {
		return short(err)
	}
	if err := ended(f); err != nil {
		return err
	}
	sum := sha256.Sum256(buf)
	if n.data = p.known[sum]; n.data != nil {
		return nil
	}
	p.frag = p.frag[:at+len(buf)]
	n.data = &contents{frag: uint32(len(p.frags)), offset: uint32(at)}
	p.known[sum] = n.data
	return nil
}

// flush ends the fragment block.
func (p *packer) flush() {
	if len(p.frag) > 0 {
		p.frags = append(p.frags, p.pipe.add(p.frag, false))
		p.frag = nil
	}
}

func zeros(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// short says that a file had fewer bytes than announced.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file is shorter than it was: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// ended makes sure that a file has no more bytes than announced.
func ended(f io.Reader) error {
	switch _, err := io.ReadFull(f, make([]byte, 1)); {
	case err == nil:
		return errors.New("the file is longer than it was")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
