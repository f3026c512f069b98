package main

import (
	"bytes"
	"os"
)

// logLimit is the size in bytes at which a log is kept as NAME.1 and begun anew.
const logLimit = 1 << 20

// log keeps what a container says: in a file of bounded size, and on the
// console if that is wanted, each line with the container's name.
type log struct {
	name    string
	path    string
	file    *os.File
	size    int64
	console bool
	line    []byte // begun, not yet ended
}

// newLog never fails: without a file, only the console is written.
func newLog(name, path string, console bool) *log {
	l := &log{name: name, path: path, console: console}
	l.open()
	return l
}

func (l *log) open() {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		say("log of %s: %v", l.name, err)
		return
	}
	l.file = f
	if info, err := f.Stat(); err == nil {
		l.size = info.Size()
	}
}

// maxLine bounds what is held back until a line ends.
const maxLine = 8 << 10

// Write implements [io.Writer]. It never fails: a full disk must not stop a
// container.
func (l *log) Write(p []byte) (int, error) {
	if l.file != nil {
		if l.size += int64(len(p)); l.size > logLimit {
			l.file.Close()
			_ = os.Rename(l.path, l.path+".1")
			l.open()
			l.size = int64(len(p))
		}
		_, _ = l.file.Write(p)
	}
	if l.console {
		l.line = append(l.line, p...)
		for {
			i := bytes.IndexByte(l.line, '\n')
			if i < 0 && len(l.line) < maxLine {
				break
			}
			if i < 0 {
				i = len(l.line) - 1
			}
			console.line("[" + l.name + "] " + string(bytes.TrimRight(l.line[:i+1], "\r\n")))
			l.line = l.line[i+1:]
		}
	}
	return len(p), nil
}

// Close shows a line that was not ended.
func (l *log) Close() error {
	if l.console && len(l.line) > 0 {
		console.line("[" + l.name + "] " + string(l.line))
		l.line = nil
	}
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
