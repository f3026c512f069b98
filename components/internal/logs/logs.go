// Package logs keeps what containers say: in files that cannot grow without
// end, and on the console.
package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

const (
	// limit is the size in bytes at which a log is kept as NAME.1, in the place
	// of the one before, and begun anew.
	limit = 1 << 20
	// longest is how many bytes are held back for the end of a line.
	longest = 8 << 10
)

// Log is the log of one container. It never fails to write: a full disk must
// not stop who writes.
type Log struct {
	path  string
	file  *os.File // nil when it cannot be opened
	size  int64
	lines lines
}

// Open opens the log at path, to be continued if it is there. Each line also
// goes to console, after prefix, unless console is nil. Without its file the
// log still writes to the console, where it says so.
func Open(path, prefix string, console io.Writer) *Log {
	l := &Log{path: path, lines: lines{prefix: prefix, to: console}}
	if err := l.open(); err != nil && console != nil {
		fmt.Fprintf(console, "%sthere is no log: %v\n", prefix, err)
	}
	return l
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	if l.file != nil && l.size+int64(len(p)) > limit && l.size > 0 {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	l.lines.write(p)
	return len(p), nil
}

func (l *Log) rotate() {
	l.file.Close()
	l.file = nil
	if err := os.Rename(l.path, l.path+".1"); err == nil {
		_ = l.open() // without a file there is nowhere to say so
	}
}

// Close writes a last line that has no end, and closes the file.
func (l *Log) Close() error {
	l.lines.flush()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// lines writes whole lines, each with a prefix and in one piece, so that those
// of several writers do not mix.
type lines struct {
	prefix string
	to     io.Writer // nil for nowhere
	begun  []byte
}

func (l *lines) write(p []byte) {
	if l.to == nil {
		return
	}
	l.begun = append(l.begun, p...)
	for {
		line, rest, ended := bytes.Cut(l.begun, []byte{'\n'})
		if !ended && len(line) < longest {
			return
		}
		l.show(line)
		l.begun = append(l.begun[:0], rest...)
	}
}

func (l *lines) flush() {
	if len(l.begun) > 0 {
		l.show(l.begun)
		l.begun = nil
	}
}

func (l *lines) show(line []byte) {
	_, _ = fmt.Fprintf(l.to, "%s%s\n", l.prefix, bytes.TrimRight(line, "\r"))
}
