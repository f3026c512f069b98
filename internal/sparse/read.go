package sparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
)

const (
	bufferSize  = 1 << 20   // bytes copied at a time
	compareSize = 256 << 10 // bytes compared at a time; they should stay in the processor's cache
)

// Open reads the file from its beginning, holes as zeros. It fails with
// [io.ErrUnexpectedEOF] where a source has fewer bytes than were announced.
func (f *File) Open() (io.ReadCloser, error) { return &reader{file: f}, nil }

// reader holds the source of the last piece open: the next piece is often the
// rest of the same one.
type reader struct {
	file *File
	pos  int64
	next int // piece that pos is in or before
	src  *source
	from io.ReadCloser // of src
	read int64         // bytes read from it
}

func (r *reader) Read(buf []byte) (int, error) {
	if r.pos >= r.file.size {
		return 0, io.EOF
	}
	if r.next == len(r.file.pieces) {
		return r.zeros(buf, r.file.size-r.pos), nil
	}
	p := &r.file.pieces[r.next]
	if r.pos < p.off {
		return r.zeros(buf, p.off-r.pos), nil
	}
	if err := r.seek(p.src, p.skip+r.pos-p.off); err != nil {
		return 0, err
	}
	n, err := r.from.Read(buf[:min(int64(len(buf)), p.end()-r.pos)])
	r.read += int64(n)
	r.pos += int64(n)
	if r.pos == p.end() {
		r.next++
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		return n, fmt.Errorf("a source ended %d bytes early: %w", p.end()-r.pos, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (r *reader) zeros(buf []byte, most int64) int {
	n := min(int64(len(buf)), most)
	clear(buf[:n])
	r.pos += n
	return int(n)
}

// seek makes r.from a reader of src that stands at off.
func (r *reader) seek(src *source, off int64) error {
	if r.src != src || r.read > off {
		if err := r.Close(); err != nil {
			return err
		}
		from, err := src.open()
		if err != nil {
			return err
		}
		r.src, r.from, r.read = src, from, 0
	}
	if r.read == off {
		return nil
	}
	if s, ok := r.from.(io.Seeker); ok {
		if _, err := s.Seek(off, io.SeekStart); err != nil {
			return err
		}
	} else if _, err := io.CopyN(io.Discard, r.from, off-r.read); err != nil {
		return fmt.Errorf("skipping to byte %d of a source: %w", off, err)
	}
	r.read = off
	return nil
}

func (r *reader) Close() error {
	if r.from == nil {
		return nil
	}
	err := r.from.Close()
	r.src, r.from = nil, nil
	return err
}

// Save writes the file into out. Where the file has holes, nothing is written: in
// an empty file they stay holes, if out's file system has them. What comes from
// files that may share or copy by itself.
func (f *File) Save(out *os.File) error {
	r := &reader{file: f}
	defer r.Close()
	var buf []byte
	for i := range f.pieces {
		p := &f.pieces[i]
		r.next, r.pos = i, p.off
		if err := r.seek(p.src, p.skip); err != nil {
			return err
		}
		if from, ok := r.from.(*filePart); ok {
			if err := from.copyTo(out, p.off, p.skip, p.size); err != nil {
				return err
			}
			continue
		}
		if _, err := out.Seek(p.off, io.SeekStart); err != nil {
			return err
		}
		if buf == nil {
			buf = make([]byte, bufferSize)
		}
		if _, err := io.CopyBuffer(onlyWriter{out}, io.LimitReader(r, p.size), buf); err != nil {
			return err
		}
		if p.size >= bufferSize {
			writeBack(out, p.off, p.size)
		}
	}
	return out.Truncate(f.size)
}

// onlyWriter hides ReadFrom, which would copy with a small buffer.
type onlyWriter struct{ io.Writer }

// Same tells whether old, which can be read anywhere, has the size and the
// bytes of the file. It reads with as many goroutines as there are processors.
func (f *File) Same(old io.ReaderAt, size int64) (bool, error) {
	if size != f.size {
		return false, nil
	}
	n := int64(runtime.GOMAXPROCS(0))
	var g errgroup.Group
	for from := int64(0); from < size; from += size/n + 1 {
		g.Go(func() error { return f.compare(old, from, min(size/n+1, size-from)) })
	}
	err := g.Wait()
	if errors.Is(err, errDiffer) {
		return false, nil
	}
	return err == nil, err
}

var errDiffer = errors.New("the bytes are others")

// compare is errDiffer if old has other bytes in a range than the file.
func (f *File) compare(old io.ReaderAt, off, size int64) error {
	r := &reader{file: f.Section(off, size)}
	defer r.Close()
	ours, theirs := make([]byte, compareSize), make([]byte, compareSize)
	for size > 0 {
		n := min(size, compareSize)
		if _, err := io.ReadFull(r, ours[:n]); err != nil {
			return err
		}
		if _, err := old.ReadAt(theirs[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(ours[:n], theirs[:n]) {
			return errDiffer
		}
		off, size = off+n, size-n
	}
	return nil
}
