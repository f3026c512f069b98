package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A derived file is what was made from images, kept under what it was made from:
// lkx/derived/KIND/KEY. Its last bytes are its mark, by which it is verified when
// it has lost its stamp: nobody but this program writes it, so a checksum does.
// Its access time is when it was last used.

// Derived is a file of the store that make made, earlier or just now.
type Derived struct {
	Path   string
	Size   int64 // bytes from the beginning of the file; more follow
	Cached bool  // it was there
}

// partSuffix is what is added to the name of a derived file that is being made.
const partSuffix = ".part"

// markSize is the size of a mark in bytes: "lkx1", and a CRC-32C of what is before
// it, little endian.
const markSize = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mark is the end of a file with that checksum.
func mark(sum hash.Hash32) []byte {
	return binary.LittleEndian.AppendUint32([]byte("lkx1"), sum.Sum32())
}

// checksum is the checksum of the first size bytes of f.
func checksum(ctx context.Context, f *os.File, size int64) (hash.Hash32, error) {
	sum := crc32.New(castagnoli)
	_, err := io.CopyBuffer(sum, until{ctx, io.NewSectionReader(f, 0, size)}, make([]byte, 256<<10))
	return sum, err
}

// Derive is the derived file key of a kind. If there is none, make writes it, by
// one process at a time. Both names are parts of a file's name.
func (s *Store) Derive(ctx context.Context, kind, key string, make func(*Draft) error) (*Derived, error) {
	path := s.side("derived", kind, key)
	if d, err := s.derived(path); d != nil || err != nil {
		return d, err
	}
	unlock, err := s.lock(ctx, kind+"-"+key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if d, err := s.remember(ctx, path); d != nil || err != nil {
		return d, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(path + partSuffix)
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // nothing is there when all went well
	d := newDraft(f)
	err = make(d)
	if err == nil {
		err = s.seal(ctx, d)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	made, err := s.derived(path)
	if made != nil {
		made.Cached = false
	} else if err == nil {
		err = fmt.Errorf("%s changed as it was written", path)
	}
	return made, err
}

// Apart makes a derived file that is in no store: the file name.
func Apart(name string, make func(*Draft) error) (*Derived, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	var size int64
	if err = make(newDraft(f)); err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &Derived{Path: name, Size: size}, nil
}

// Draft is a derived file that is being made. It begins empty.
type Draft struct {
	file  *os.File
	sum   hash.Hash32
	loose bool // what is in it need not be what sum is of
}

func newDraft(f *os.File) *Draft { return &Draft{file: f, sum: crc32.New(castagnoli)} }

// Write appends to the file.
func (d *Draft) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	d.sum.Write(p[:n])
	return n, err
}

// File is the file itself, to be written to anywhere. It is read once more, then.
func (d *Draft) File() *os.File {
	d.loose = true
	return d.file
}

// Recent are the keys of at most n derived files of a kind, the last used first.
func (s *Store) Recent(kind string, n int) []string {
	entries, _ := os.ReadDir(s.side("derived", kind)) // none, if it cannot be read
	used := map[string]time.Time{}
	var keys []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !strings.HasSuffix(e.Name(), partSuffix) {
			keys, used[e.Name()] = append(keys, e.Name()), lastUse(info)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(used[b].Compare(used[a]), cmp.Compare(a, b)) })
	return keys[:min(n, len(keys))]
}

// Lookup is the derived file key of a kind, nil if there is none that is known to
// be right.
func (s *Store) Lookup(kind, key string) (*Derived, error) {
	return s.derived(s.side("derived", kind, key))
}

// derived opens no derived file but one that has its stamp, and gives nil if
// there is none.
func (s *Store) derived(path string) (*Derived, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < markSize || !s.stamped(info) {
		return nil, err
	}
	touch(path)
	return &Derived{Path: path, Size: info.Size() - markSize, Cached: true}, nil
}

// remember gives a derived file that lost its stamp a new one, once it is known
// to be right. Others are removed, and nil is given. The caller holds its lock.
func (s *Store) remember(ctx context.Context, path string) (*Derived, error) {
	if d, err := s.derived(path); d != nil || err != nil {
		return d, err // another process made it
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := checkDerived(ctx, f)
	if errors.Is(err, errMismatch) {
		return nil, os.Remove(path)
	}
	if err == nil {
		err = stampLasting(f, size)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", path, err)
	}
	return s.derived(path)
}

// checkDerived verifies all of a derived file, and gives its size.
func checkDerived(ctx context.Context, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size() - markSize
	if size < 0 {
		return 0, errMismatch
	}
	sum, err := checksum(ctx, f, size)
	if err != nil {
		return 0, err
	}
	found := make([]byte, markSize)
	if _, err := f.ReadAt(found, size); err != nil {
		return 0, err
	}
	if !bytes.Equal(found, mark(sum)) {
		return 0, errMismatch
	}
	return info.Size(), nil
}

// seal marks what is in d, and stamps it.
func (s *Store) seal(ctx context.Context, d *Draft) error {
	size, err := d.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if d.loose {
		if d.sum, err = checksum(ctx, d.file, size); err != nil {
			return err
		}
	}
	if _, err := d.file.Write(mark(d.sum)); err != nil {
		return err
	}
	return s.stamp(d.file, size+markSize)
}
