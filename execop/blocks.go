package execop

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lkx-os/lkx/formats"
)

// maxIndex is what an index can have, in bytes: that of a root file system of 190 GB.
const maxIndex = 64 << 20

// kept is a directory that all exec ops of a builder share, with the root file
// systems that were made last: ID-JOB is one, an index of its blocks, and the
// index's length in 8 bytes, big endian. ID is that of the program that made it:
// another may compress otherwise. Whatever fails here costs time alone.
type kept struct{ dir, id string }

// blocks are those of the root file systems that are kept. Any build can write to
// the directory, so they are not trusted.
func (k kept) blocks() (*formats.KnownBlocks, error) {
	known := &formats.KnownBlocks{}
	if err := known.Distrust(); err != nil {
		return nil, err
	}
	for _, name := range k.recent() {
		if !strings.HasPrefix(name, k.id+"-") {
			continue
		}
		f, err := os.Open(filepath.Join(k.dir, name))
		if err != nil {
			continue
		}
		index, err := readIndex(f)
		if err != nil {
			f.Close()
			continue
		}
		_ = known.Add(f, index) // which closes it
	}
	return known, nil
}

// recent are the names of the files, the last made first.
func (k kept) recent() []string {
	entries, _ := os.ReadDir(k.dir)
	made := map[string]int64{}
	var names []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			names, made[e.Name()] = append(names, e.Name()), info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(made[b], made[a]), cmp.Compare(a, b)) })
	return names
}

// readIndex reads the index at the end of f.
func readIndex(f *os.File) ([]byte, error) {
	end, err := f.Seek(-8, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	var size int64
	if err := binary.Read(f, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	if size < 0 || size > min(end, maxIndex) {
		return nil, errors.New("there is no index")
	}
	index := make([]byte, size)
	_, err = f.ReadAt(index, end-size)
	return index, err
}

// keep copies root, in which known was told of blocks, as the one that job made.
// Those that were made longest ago go, and what was left unfinished with them.
func (k kept) keep(root *os.File, known *formats.KnownBlocks, job string) error {
	index := known.Index()
	if len(index) == 0 {
		return nil
	}
	if old := k.recent(); len(old) >= formats.RecentRoots {
		for _, name := range old[formats.RecentRoots-1:] {
			_ = os.Remove(filepath.Join(k.dir, name))
		}
	}
	f, err := os.CreateTemp(k.dir, "new-*")
	if err != nil {
		return fmt.Errorf("keeping blocks: %w", err)
	}
	defer os.Remove(f.Name()) // nothing is there when all went well
	if _, err = root.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(f, root)
	}
	if err == nil {
		_, err = f.Write(binary.BigEndian.AppendUint64(index, uint64(len(index))))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(k.dir, k.id+"-"+job))
	}
	if err != nil {
		return fmt.Errorf("keeping blocks: %w", err)
	}
	return nil
}
