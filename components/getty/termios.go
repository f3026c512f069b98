package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// reset makes a terminal sane for a login, whatever was done to it before:
// lines are edited and echoed, ctrl-c interrupts. speed 0 leaves the line's.
func reset(fd int, speed uint32) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag = unix.ICRNL | unix.IXON | unix.IUTF8
	t.Oflag = unix.OPOST | unix.ONLCR
	t.Lflag = unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
	t.Cflag = t.Cflag&^unix.CSIZE | unix.CS8 | unix.CREAD | unix.CLOCAL // a null modem has no carrier
	if speed != 0 {
		t.Cflag = t.Cflag&^unix.CBAUD | speed
		t.Ispeed, t.Ospeed = speed, speed
	}
	for i, c := range map[int]byte{
		unix.VINTR: 3, unix.VQUIT: 28, unix.VERASE: 127, unix.VKILL: 21, unix.VEOF: 4, unix.VSTART: 17, unix.VSTOP: 19,
		unix.VSUSP: 26, unix.VREPRINT: 18, unix.VWERASE: 23, unix.VLNEXT: 22, unix.VMIN: 1, unix.VTIME: 0,
	} {
		t.Cc[i] = c
	}
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// patience is how long a terminal may take to say where its cursor is.
const patience = 500 * time.Millisecond

// ask sends the cursor to the far corner, asks where it is, and brings it back
// (ECMA-48, DECSC and DECRC of the VT100).
const ask = "\x1b7\x1b[999;999H\x1b[6n\x1b8"

// resize tells the kernel how large the terminal is, if it does not know: a
// serial line cannot say so by itself. One that does not answer is taken for 24
// lines of 80.
func resize(tty *os.File) error {
	fd := int(tty.Fd())
	if size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err != nil || size.Row != 0 && size.Col != 0 {
		return err
	}
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return err
	}
	size := unix.Winsize{Row: 24, Col: 80}
	if row, col, ok := position(answer(tty)); ok {
		size.Row, size.Col = row, col
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, before); err != nil {
		return err
	}
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size)
}

// answer is what the terminal says when it is asked.
func answer(tty *os.File) []byte {
	if _, err := tty.WriteString(ask); err != nil {
		return nil
	}
	var out []byte
	buf := make([]byte, 64)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n, _ := unix.Read(int(tty.Fd()), buf) // waits for a tenth of a second
		out = append(out, buf[:max(n, 0)]...)
		if _, _, ok := position(out); ok {
			break
		}
	}
	return out
}

// position finds a report of the cursor's position, "ESC [ row ; column R".
func position(text []byte) (row, col uint16, ok bool) {
	i := bytes.LastIndex(text, []byte("\x1b["))
	if i < 0 || !bytes.Contains(text[i:], []byte("R")) {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(string(text[i:]), "\x1b[%d;%dR", &row, &col)
	return row, col, err == nil && n == 2 && row > 0 && col > 0
}
