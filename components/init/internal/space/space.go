// Package space tells when a file system in memory is full: then logs are cut
// off and containers fail, each with an error of its own that does not say why.
package space

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

// interval is the time between two looks.
const interval = 5 * time.Second

// Watch tells, until ctx is done, when a file system in memory is full, and when
// it is not any more: those of the system, and those of containers and volumes.
func Watch(ctx context.Context, log *log.Logger) {
	seen := map[uint64]*watched{}
	for {
		points, err := mnt.Points()
		if err != nil {
			log.Print(err)
			return
		}
		for _, dir := range points {
			if device, ok := inMemory(dir); ok && seen[device] == nil {
				seen[device] = &watched{dir: dir, device: device}
			}
		}
		for _, w := range seen {
			if text := w.look(); text != "" {
				log.Print(text)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}

// inMemory tells which file system is mounted at dir, if it is a tmpfs that can
// be written.
func inMemory(dir string) (device uint64, ok bool) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(dir, &fs) != nil || unix.Stat(dir, &st) != nil { // it has gone meanwhile
		return 0, false
	}
	return st.Dev, fs.Type == unix.TMPFS_MAGIC && fs.Flags&unix.ST_RDONLY == 0
}

// watched is one file system.
type watched struct {
	dir    string
	device uint64
	full   bool // as it was when last seen
}

// look returns what is to be said of the file system, "" for nothing. It is full
// with less than 1 % left, of its bytes or its files, and not any more with 5 %.
func (w *watched) look() string {
	var st unix.Statfs_t
	if device, ok := inMemory(w.dir); !ok || device != w.device { // it is not mounted any more
		return ""
	}
	if err := unix.Statfs(w.dir, &st); err != nil || st.Blocks == 0 {
		return ""
	}
	left := 100 * st.Bavail / st.Blocks
	if st.Files > 0 {
		left = min(left, 100*st.Ffree/st.Files)
	}
	mib := func(blocks uint64) uint64 { return blocks * uint64(st.Bsize) >> 20 }
	switch {
	case left < 1 && !w.full:
		w.full = true
		name, size := largest(w.dir)
		return fmt.Sprintf("%s is full, all %d MiB: what is written there is lost; the most is in %s (%d MiB)", w.dir, mib(st.Blocks), name, size>>20)
	case left >= 5 && w.full:
		w.full = false
		return fmt.Sprintf("%s is not full any more: %d of %d MiB are free", w.dir, mib(st.Bavail), mib(st.Blocks))
	}
	return ""
}

// largest is what takes the most bytes of the file system at dir: of all files
// and directories in it, or in its directories, not counting other file systems.
func largest(dir string) (name string, size int64) {
	const depth = 2
	sums := map[string]int64{}
	var device uint64
	// What cannot be seen, as it is being removed, takes no space.
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(p, &st) != nil {
			return nil
		}
		if p == dir {
			device = st.Dev
			return nil
		}
		if st.Dev != device {
			return skip(d)
		}
		sums[upTo(dir, p, depth)] += st.Blocks * 512
		return nil
	})
	for n, s := range sums {
		if s > size || s == size && n < name {
			name, size = n, s
		}
	}
	return name, size
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// upTo is p, which is below dir, or that of its parents that is depth below dir.
func upTo(dir, p string, depth int) string {
	rest := p[len(dir):]
	for i, c := range rest {
		if c != os.PathSeparator || i == 0 {
			continue
		}
		if depth--; depth == 0 {
			return dir + rest[:i]
		}
	}
	return p
}
