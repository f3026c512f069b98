package sparse

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// stride is how many bytes of a file are copied at a time.
const stride = 16 << 20

// OpenPart opens the size bytes at off of the file name. What [File.Save] reads from
// it, it has the system copy.
func OpenPart(name string, off, size int64) (io.ReadSeekCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	p := &filePart{f: f, off: off, size: size}
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

type filePart struct {
	f              *os.File
	off, size, pos int64 // pos counts from off
}

func (p *filePart) Read(buf []byte) (int, error) {
	if p.pos >= p.size {
		return 0, io.EOF
	}
	n, err := p.f.Read(buf[:min(int64(len(buf)), p.size-p.pos)])
	p.pos += int64(n)
	return n, err
}

func (p *filePart) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += p.pos
	case io.SeekEnd:
		off += p.size
	}
	_, err := p.f.Seek(p.off+off, io.SeekStart)
	p.pos = off
	return off, err
}

func (p *filePart) Close() error { return p.f.Close() }

// writeBack has the disk begin to write what is there, so that who waits for it
// afterwards waits less. Not every file system can.
func writeBack(f *os.File, off, size int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, size, unix.SYNC_FILE_RANGE_WRITE)
}

// copyTo copies the size bytes at skip to out, at off.
func (p *filePart) copyTo(out *os.File, off, skip, size int64) error {
	if skip+size > p.size {
		return fmt.Errorf("a source ended %d bytes early: %w", skip+size-p.size, io.ErrUnexpectedEOF)
	}
	for at := int64(0); at < size; at += stride {
		n := min(stride, size-at)
		if err := copyRange(out, off+at, p.f, p.off+skip+at, n); err != nil {
			return err
		}
		writeBack(out, off+at, n)
	}
	return nil
}

// copyRange copies n bytes from one file into another. The system does it, and
// shares them if it can; not all file systems let it.
func copyRange(out *os.File, to int64, in *os.File, from, n int64) error {
	for n > 0 {
		done, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, int(n), 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return copyBytes(io.NewOffsetWriter(out, to), io.NewSectionReader(in, from, n))
		case done == 0:
			return fmt.Errorf("a source ended %d bytes early: %w", n, io.ErrUnexpectedEOF)
		}
		n -= int64(done)
	}
	return nil
}

// copyBytes copies all of r, without the system's help.
func copyBytes(w io.Writer, r *io.SectionReader) error {
	n, err := io.CopyBuffer(w, r, make([]byte, bufferSize))
	if err == nil && n < r.Size() {
		err = fmt.Errorf("a source ended %d bytes early: %w", r.Size()-n, io.ErrUnexpectedEOF)
	}
	return err
}
