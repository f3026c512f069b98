// Package sparse describes a long file as pieces at offsets, with holes between
// them. Nothing is read before the file is written out, and then once, forward:
// a disk of gigabytes is laid out, nested into another and cut up again without
// a copy of its bytes.
package sparse

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// File is a file that is not written yet. The zero value is empty. Bytes that
// no piece covers are zero.
type File struct {
	size   int64
	pieces []piece // ascending by off, not overlapping
}

// piece is size bytes of a source, from its byte skip on, at off.
type piece struct {
	off, size int64
	src       *source
	skip      int64
}

type source struct {
	open func() (io.ReadCloser, error)
}

// Size is the file's length in bytes, trailing hole included.
func (f *File) Size() int64 { return f.size }

// Resize sets the length. It never cuts off a piece: that would be a mistake of
// the caller's, and panics.
func (f *File) Resize(size int64) {
	if n := len(f.pieces); n > 0 && f.pieces[n-1].end() > size {
		panic(fmt.Sprintf("sparse: %d bytes are fewer than the %d that are used", size, f.pieces[n-1].end()))
	}
	f.size = size
}

// Put places data at off, and makes the file as long as that needs. The data
// must stay as it is. Like all that places bytes, it panics where bytes are
// already: layouts are computed, and must not collide.
func (f *File) Put(off int64, data []byte) {
	f.PutSource(off, int64(len(data)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	})
}

// PutSource places the first size bytes of what open opens at off.
func (f *File) PutSource(off, size int64, open func() (io.ReadCloser, error)) {
	f.put(piece{off: off, size: size, src: &source{open}})
}

// PutFile places another file at off, its holes as holes.
func (f *File) PutFile(off int64, g *File) {
	for _, p := range g.pieces {
		p.off += off
		f.put(p)
	}
	f.size = max(f.size, off+g.size)
}

func (f *File) put(p piece) {
	if p.off < 0 {
		panic("sparse: a negative offset")
	}
	f.size = max(f.size, p.end())
	if p.size == 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(f.pieces, p, func(a, b piece) int { return int(min(1, max(-1, a.off-b.off))) })
	if i > 0 && f.pieces[i-1].end() > p.off || i < len(f.pieces) && p.end() > f.pieces[i].off {
		panic(fmt.Sprintf("sparse: bytes %d to %d are taken", p.off, p.end()))
	}
	f.pieces = slices.Insert(f.pieces, i, p)
}

func (p *piece) end() int64 { return p.off + p.size }

// Section is a copy of the size bytes at off, which may reach beyond the end:
// there, it is a hole.
func (f *File) Section(off, size int64) *File {
	out := &File{size: size}
	i, _ := slices.BinarySearchFunc(f.pieces, off, func(p piece, off int64) int {
		if p.end() <= off {
			return -1
		}
		return 1
	})
	for ; i < len(f.pieces) && f.pieces[i].off < off+size; i++ {
		p := f.pieces[i]
		if cut := off - p.off; cut > 0 {
			p.off, p.size, p.skip = off, p.size-cut, p.skip+cut
		}
		p.size = min(p.size, off+size-p.off)
		p.off -= off
		out.pieces = append(out.pieces, p)
	}
	return out
}

// Run is a range of bytes.
type Run struct{ Off, Size int64 }

// Runs are the parts of the file that are not holes, ascending, each beginning
// and ending at a multiple of align, with at least align bytes between them.
// The last may end beyond the file's end.
func (f *File) Runs(align int64) []Run {
	var out []Run
	for _, p := range f.pieces {
		start, end := p.off/align*align, (p.end()+align-1)/align*align
		if n := len(out); n > 0 && start <= out[n-1].Off+out[n-1].Size {
			out[n-1].Size = max(out[n-1].Size, end-out[n-1].Off)
			continue
		}
		out = append(out, Run{start, end - start})
	}
	return out
}
