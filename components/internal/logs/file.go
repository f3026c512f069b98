package logs

import (
	"fmt"
	"os"
)

// File is a file that is begun anew when it has grown large. Older ones are
// beside it, NAME.1 being the youngest.
type File struct {
	path  string
	limit int64
	older int
	file  *os.File // nil when it could not be opened
	size  int64
}

// OpenFile opens the file at path, to be continued if it is there. It is begun
// anew before a write takes it over limit bytes; as many older ones are kept.
func OpenFile(path string, limit int64, older int) (*File, error) {
	f := &File{path: path, limit: limit, older: older}
	return f, f.open()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("opening a log: %w", err)
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write implements [io.Writer]. After an error the next call tries everything
// again.
func (f *File) Write(p []byte) (int, error) {
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.size+int64(len(p)) > f.limit && f.size > 0 {
		if err := f.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("writing a log: %w", err)
	}
	return n, nil
}

func (f *File) rotate() error {
	f.file.Close()
	f.file = nil
	for i := f.older; i > 0; i-- {
		from := f.path
		if i > 1 {
			from = f.numbered(i - 1)
		}
		if err := os.Rename(from, f.numbered(i)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("keeping a log: %w", err)
		}
	}
	if f.older == 0 {
		if err := os.Remove(f.path); err != nil {
			return fmt.Errorf("removing a log: %w", err)
		}
	}
	return f.open()
}

func (f *File) numbered(i int) string { return fmt.Sprintf("%s.%d", f.path, i) }

// Close closes the file.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
