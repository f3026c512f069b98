package logs

import "bytes"

// longest is how many bytes are held back for the end of a line; what is longer
// is taken for several.
const longest = 8 << 10

// lines calls each for every line of what is written, without its end.
type lines struct {
	each  func(line []byte) // the line is valid until it returns
	begun []byte
}

func (l *lines) write(p []byte) {
	l.begun = append(l.begun, p...)
	rest := l.begun
	for {
		i := bytes.IndexByte(rest, '\n')
		switch {
		case i >= 0:
			l.each(bytes.TrimRight(rest[:i], "\r"))
			rest = rest[i+1:]
		case len(rest) >= longest:
			l.each(rest)
			rest = nil
		default:
			l.begun = append(l.begun[:0], rest...)
			return
		}
	}
}

// flush takes what has no end for a line.
func (l *lines) flush() {
	if len(l.begun) > 0 {
		l.each(bytes.TrimRight(l.begun, "\r"))
		l.begun = nil
	}
}
