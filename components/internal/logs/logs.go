// Package logs keeps what containers say: in files that cannot grow without
// end, in memory for those who ask, and on the console.
package logs

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/memlog"
)

// Sizes of a log's file, at which it is kept as NAME.1, in the place of the one
// before, and begun anew; in bytes.
const (
	largest  = 1 << 20
	smallest = 64 << 10
)

// share is the part of a file system, one of so many, that logs may take.
const share = 8

// Keeper is what the logs of a system have in common. Its zero value keeps
// files alone.
type Keeper struct {
	Hub      *memlog.Hub // gets all lines; nil for none
	External string      // socket of a logger that gets all lines, too; "" for none
	Limit    int64       // bytes of a file; 0 is 1 MiB
}

// Limit is how large, in bytes, each of count logs in dir may become so that
// all of them take but a small part of their file system.
func Limit(dir string, count int) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return smallest
	}
	size := int64(fs.Blocks) * int64(fs.Bsize)
	return max(smallest, min(largest, size/share/int64(2*max(count, 1))))
}

// Source is whose output a log is.
type Source struct {
	Path    string    // of the file
	Name    string    // among all logs: "web", "web.out", "onboot.000-sysctl"
	Prefix  string    // of lines on the console
	Console io.Writer // nil for not
}

// Log is the log of one output of a container. It never fails to write, nor
// does it wait for more than the file: what is wrong with a log must not stop
// who writes.
type Log struct {
	file     *File
	lines    lines
	console  *console         // nil for none
	external *memlog.External // nil for none
}

// Open opens a log, to be continued if its file is there. What is wrong about
// it is said in it.
func (k *Keeper) Open(s Source) *Log {
	limit := k.Limit
	if limit == 0 {
		limit = largest
	}
	l := &Log{}
	if s.Console != nil {
		l.console = newConsole(s.Console, s.Prefix)
	}
	k.Load(s.Path, s.Name)
	var errs []error
	var err error
	if l.file, err = OpenFile(s.Path, limit, 1); err != nil {
		errs = append(errs, err)
	}
	if k.External != "" {
		if l.external, err = memlog.Send(k.External, s.Name); err != nil {
			errs = append(errs, err)
		}
	}
	l.lines.each = func(line []byte) {
		if l.console != nil {
			l.console.show(line)
		}
		if l.external != nil {
			l.external.Line(line)
		}
		if k.Hub != nil {
			k.Hub.Add(memlog.Entry{Time: time.Now(), Source: s.Name, Msg: string(line)})
		}
	}
	for _, err := range errs {
		l.lines.write(fmt.Appendf(nil, "lkx: this log is not complete: %v\n", err))
	}
	return l
}

// Load shows those who ask the end of a log that was written before.
func (k *Keeper) Load(path, name string) {
	if k.Hub == nil {
		return
	}
	for _, p := range []string{path + ".1", path} {
		text, at, err := tail(p, memlog.PerSource)
		if err != nil {
			continue // most have none
		}
		l := lines{each: func(line []byte) { k.Hub.Add(memlog.Entry{Time: at, Source: name, Msg: string(line)}) }}
		l.write(text)
		l.flush()
	}
}

// tail is the end of a file, not more than n bytes, and when it was written.
func tail(path string, n int64) ([]byte, time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-n), n))
	return text, info.ModTime(), err
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	_, _ = l.file.Write(p) // a full disk must not stop who writes
	l.lines.write(p)
	return len(p), nil
}

// Close takes a last line that has no end, and closes the file.
func (l *Log) Close() error {
	l.lines.flush()
	if l.console != nil {
		l.console.close()
	}
	if l.external != nil {
		l.external.Close()
	}
	return l.file.Close()
}
