package store

import (
	"hash/fnv"
	"io/fs"
	"os"
	"time"
)

// A stamp is the modification time of a file that was verified, and tells of its
// size. Nobody else gives a file such a time, and who writes to the file takes
// it away.
//
// A flushed file has a stamp that lasts. Flushing is slow, and of what can be made
// again there is no need for it: such a file has a stamp that is good until the
// system is booted again. Only then can it have lost what it had.

// lasting is the stamp of a flushed file of size bytes.
func lasting(size int64) time.Time { return time.Unix(0, size) }

// stamper gives and knows the stamps of this boot.
type stamper struct {
	boot int64 // seconds since 1970 of its stamps; 0 if the system does not tell one boot from another
}

// bootID changes with each boot (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

func newStamper() stamper {
	id, err := os.ReadFile(bootID)
	if err != nil {
		return stamper{}
	}
	h := fnv.New32a()
	h.Write(id)
	return stamper{1<<29 | int64(h.Sum32()>>3)} // from 1987 to 2004: no lasting stamp, and every file system can keep it
}

// passing is the stamp of a file of size bytes until the next boot.
func (s stamper) passing(size int64) time.Time { return time.Unix(s.boot, size%1e9) }

// stamp stamps f, which has size bytes and was verified. It is flushed if it has to be.
func (s stamper) stamp(f *os.File, size int64) error {
	if s.boot != 0 {
		return os.Chtimes(f.Name(), time.Time{}, s.passing(size))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Chtimes(f.Name(), time.Time{}, lasting(size))
}

// stamped tells whether a file has a stamp.
func (s stamper) stamped(info fs.FileInfo) bool {
	t, size := info.ModTime(), info.Size()
	return t.Equal(lasting(size)) || s.boot != 0 && t.Equal(s.passing(size))
}

// stampLasting stamps f, of size bytes, which was verified, for good.
func stampLasting(f *os.File, size int64) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Chtimes(f.Name(), time.Time{}, lasting(size))
}
