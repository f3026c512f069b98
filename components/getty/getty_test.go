package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestTerminals(t *testing.T) {
	kernel := cmdline.Parse("quiet console=tty0 console=ttyS0,115200n8 console=ttyS0 console= console=null")
	want := []line{{"tty1", 0}, {"ttyS0", unix.B115200}}
	if got, err := terminals(nil, kernel); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	want = []line{{"ttyS1", unix.B9600}, {"hvc0", 0}, {"ttyAMA0", 0}}
	if got, err := terminals([]string{"/dev/ttyS1,9600", "hvc0", "ttyAMA0,7"}, kernel); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := terminals(nil, nil); err == nil {
		t.Error("no terminal gave no error")
	}
	for name, want := range map[string]string{"tty1": "linux", "ttyS0": "vt220", "ttyAMA0": "vt220", "hvc0": "vt220"} {
		if got := (line{name: name}).term(); got != want {
			t.Errorf("%s is a %s", name, got)
		}
	}
}

func TestShadow(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "getty.shadow"), filepath.Join(dir, "shadow")
	if err := takeShadow([]string{from}, to); err == nil || !strings.Contains(err.Error(), "INSECURE=true") {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(from, []byte("root:x:::::::"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := takeShadow([]string{"/missing", from}, to); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "root:x:::::::\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestPosition(t *testing.T) {
	for text, want := range map[string][2]uint16{
		"\x1b[50;132R": {50, 132}, "typed\x1b[24;80R": {24, 80}, "": {}, "\x1b[50;13": {}, "\x1b[A": {}, "\x1b[0;0R": {},
	} {
		row, col, ok := position([]byte(text))
		if ok != (want[0] != 0) || ok && (row != want[0] || col != want[1]) {
			t.Errorf("%q: %d, %d, %v", text, row, col, ok)
		}
	}
}

// TestResize has a terminal that answers and one that does not.
func TestResize(t *testing.T) {
	for _, x := range []struct {
		says     string
		row, col uint16
	}{{"\x1b[50;132R", 50, 132}, {"", 24, 80}} {
		master, tty := pty(t)
		if err := reset(int(tty.Fd()), 0); err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, len(ask))
			if n, _ := master.Read(buf); n > 0 {
				_, _ = master.WriteString(x.says)
			}
		}()
		if err := resize(tty); err != nil {
			t.Fatal(err)
		}
		size, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
		if err != nil || size.Row != x.row || size.Col != x.col {
			t.Errorf("%q: %+v, %v", x.says, size, err)
		}
	}
}

// pty is a pair of terminals, of which the second behaves as a serial line.
func pty(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudoterminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

func TestPretty(t *testing.T) {
	for in, want := range map[string]string{
		"ID=x\nPRETTY_NAME=\"My OS 1\"\n": "My OS 1", "PRETTY_NAME='a b'": "a b", "PRETTY_NAME=one": "one", "": "lkx",
	} {
		if got := pretty(in, "lkx"); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
