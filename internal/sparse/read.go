package sparse

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// bufferSize is how many bytes are copied at a time.
const bufferSize = 1 << 20

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

// Save writes the file into out, which must be empty. Holes stay holes if out's
// file system has them.
func (f *File) Save(out *os.File) error {
	r := &reader{file: f}
	defer r.Close()
	buf := make([]byte, bufferSize)
	for i := range f.pieces {
		p := &f.pieces[i]
		r.next, r.pos = i, p.off
		if _, err := out.Seek(p.off, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyBuffer(onlyWriter{out}, io.LimitReader(r, p.size), buf); err != nil {
			return err
		}
	}
	return out.Truncate(f.size)
}

// onlyWriter hides ReadFrom, which would copy with a small buffer.
type onlyWriter struct{ io.Writer }
