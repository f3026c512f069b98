package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lkx-os/lkx/runner"
)

// fakeMode, in the environment, makes this program a QEMU that acts a part.
const fakeMode = "LKX_TEST_FAKE_QEMU"

func TestMain(m *testing.M) {
	if mode := os.Getenv(fakeMode); mode != "" {
		fake(mode)
	}
	os.Exit(m.Run())
}

// fake is QEMU as seen from outside: its control connection, streams, signals
// and exit status.
func fake(mode string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	control := os.NewFile(monitorFD, "control")
	say := func(format string, args ...any) { fmt.Fprintf(control, format+"\r\n", args...) }
	shutdown := func(reason string) {
		say(`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": %q}}`, reason)
		os.Exit(0)
	}
	say(`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}`)
	commands := make(chan string)
	go func() {
		in := json.NewDecoder(control)
		for {
			var c struct{ Execute string }
			if in.Decode(&c) != nil {
				return
			}
			say(`{"return": {}}`)
			commands <- c.Execute
		}
	}()
	if c := <-commands; c != "qmp_capabilities" {
		fmt.Fprintln(os.Stderr, "first command:", c)
		os.Exit(1)
	}
	fmt.Println("the guest is up")
	switch mode {
	case "off":
		shutdown("guest-shutdown")
	case "quit": // at the console, with ctrl-a x
		os.Exit(0)
	case "reset":
		shutdown("guest-reset")
	case "panic":
		say(`{"event": "GUEST_PANICKED", "data": {"action": "shutdown"}}`)
		shutdown("guest-panic")
	case "fail":
		name := filepath.Base(os.Args[0])
		fmt.Fprintf(os.Stderr, "%s: -drive x: no such disk\n%[1]s: giving up\n%s", name, strings.Repeat("noise ", 10000))
		os.Exit(3)
	case "echo":
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Printf("echo %q\n", line)
		shutdown("guest-shutdown")
	case "button":
		for range 2 { // as pressed too early, once
			if c := <-commands; c != "system_powerdown" {
				fmt.Fprintln(os.Stderr, "command:", c)
				os.Exit(1)
			}
			fmt.Println("button")
		}
		shutdown("guest-shutdown")
	case "deaf":
		<-signals
		shutdown("host-signal")
	}
}

// console is what a guest wrote; it tells when it has text.
type console struct {
	mu   sync.Mutex
	all  string
	text string
	seen chan struct{}
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all += string(p)
	if c.seen != nil && strings.Contains(c.all, c.text) {
		close(c.seen)
		c.seen = nil
	}
	return len(p), nil
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	never, _ := io.Pipe() // does not end
	path := self(t)
	for _, x := range []struct {
		mode    string
		stdin   io.Reader
		want    string // the error
		console string
	}{
		{"off", nil, "", "the guest is up\n"},
		{"off", never, "", "the guest is up\n"},
		{"quit", nil, "", "the guest is up\n"},
		{"reset", nil, "the guest restarted", "the guest is up\n"},
		{"panic", nil, "the guest's kernel panicked", "the guest is up\n"},
		{"fail", nil, path + ": -drive x: no such disk; giving up; noise *(exit status 3)", "the guest is up\n"},
		{"echo", strings.NewReader("hello\n"), "", "the guest is up\necho \"hello\\n\"\n"},
		{"echo", nil, "", "the guest is up\necho \"\"\n"},
	} {
		t.Run(x.mode, func(t *testing.T) {
			t.Setenv(fakeMode, x.mode)
			var out console
			err := QEMU{Path: path}.Run(t.Context(), runner.Machine{Arch: "amd64"}, x.stdin, &out)
			if out.String() != x.console {
				t.Errorf("console: %q", out.String())
			}
			got := fmt.Sprint(err)
			head, tail, wild := strings.Cut(x.want, "*")
			switch {
			case err == nil && x.want == "":
			case wild && strings.HasPrefix(got, head) && strings.HasSuffix(got, tail) && len(got) < 2*headSize:
			case got != x.want:
				t.Errorf("error %.300s, want %s", got, x.want)
			}
		})
	}
}

func TestPowerDown(t *testing.T) {
	t.Setenv(fakeMode, "button")
	button := make(chan struct{})
	go func() {
		button <- struct{}{}
		close(button)
	}()
	var out console
	if err := (QEMU{Path: self(t)}).Run(t.Context(), runner.Machine{Arch: "amd64", PowerDown: button}, nil, &out); err != nil {
		t.Fatal(err)
	}
	if want := "the guest is up\nbutton\nbutton\n"; out.String() != want {
		t.Errorf("console: %q", out.String())
	}
}

func TestCancel(t *testing.T) {
	t.Setenv(fakeMode, "deaf")
	for _, pressed := range []bool{false, true} {
		cause := errors.New("time is up")
		ctx, cancel := context.WithCancelCause(t.Context())
		up := make(chan struct{})
		out := console{text: "up", seen: up}
		m := runner.Machine{Arch: "amd64"}
		button := make(chan struct{})
		if pressed {
			m.PowerDown = button
		}
		go func() {
			<-up
			if pressed {
				button <- struct{}{}
				button <- struct{}{} // is taken once the first is dealt with
			}
			cancel(cause)
		}()
		err := QEMU{Path: self(t)}.Run(ctx, m, nil, &out)
		want := "time is up"
		if pressed {
			want = "the guest did not power off when told to: time is up"
		}
		if !errors.Is(err, cause) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestNoQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for arch, want := range map[string]string{
		"amd64": `qemu-system-x86_64 is not installed (Debian and Ubuntu: apt install qemu-system-x86; others: package qemu): exec: "qemu-system-x86_64": executable file not found in $PATH`,
		"arm64": `qemu-system-aarch64 is not installed (Debian and Ubuntu: apt install qemu-system-arm; others: package qemu): exec: "qemu-system-aarch64": executable file not found in $PATH`,
		"s390x": `cannot run machines of architecture "s390x", only amd64 and arm64`,
	} {
		err := QEMU{}.Run(t.Context(), runner.Machine{Arch: arch}, nil, io.Discard)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

// bootSector is a disk whose first sector runs code, in real mode.
func bootSector(t *testing.T, code ...byte) string {
	t.Helper()
	sector := make([]byte, 1<<20)
	copy(sector, code)
	sector[510], sector[511] = 0x55, 0xaa
	path := filepath.Join(t.TempDir(), "boot, sector.img")
	if err := os.WriteFile(path, sector, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Code of boot sectors; the power management registers of q35 are at 0x600.
var (
	sayOK = []byte{
		0xba, 0xf8, 0x03, // mov dx, 0x3f8 (serial port)
		0xb0, 'O', 0xee, 0xb0, 'K', 0xee, 0xb0, '\n', 0xee, // mov al, C; out dx, al
	}
	powerOff = []byte{
		0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // mov dx, 0x604; mov ax, 0x2000; out dx, ax
		0xf4, 0xeb, 0xfd, // hlt; jmp back
	}
	restart      = []byte{0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd} // mov al, 0xfe; out 0x64, al
	enableButton = []byte{0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef} // mov dx, 0x602; mov ax, 0x100; out dx, ax
	awaitButton  = []byte{
		0xba, 0x00, 0x06, // mov dx, 0x600
		0xed, 0xf6, 0xc4, 0x01, 0x74, 0xfa, // in ax, dx; test ah, 1; jz back
	}
	awaitInput = []byte{
		0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, // mov dx, 0x3fd; in al, dx; test al, 1; jz back
		0xba, 0xf8, 0x03, 0xec, 0xee, // mov dx, 0x3f8; in al, dx; out dx, al
	}
)

// TestBoot boots real machines of one sector with the real QEMU.
func TestBoot(t *testing.T) {
	if _, err := (QEMU{}).find("amd64"); err != nil {
		if os.Getenv("LKX_TEST_E2E") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for name, x := range map[string]struct {
		code          []byte
		m             runner.Machine
		typed         string
		press         bool
		want, console string
	}{
		"power off": {code: slices.Concat(sayOK, powerOff), console: "OK\n"},
		"restart":   {code: slices.Concat(sayOK, restart), m: runner.Machine{NoReboot: true}, console: "OK\n", want: "the guest restarted"},
		"button":    {code: slices.Concat(enableButton, sayOK, awaitButton, powerOff), press: true, console: "OK\n"},
		"input":     {code: slices.Concat(sayOK, awaitInput, powerOff), typed: "x", console: "OK\nx"},
		"console":   {code: slices.Concat(sayOK, []byte{0xf4, 0xeb, 0xfd}), typed: "\x01x", console: "OK\nQEMU: Terminated\n\r"},
		"devices": {code: slices.Concat(sayOK, powerOff), console: "OK\n", m: runner.Machine{
			CPUs: 2, Memory: 64 << 20, Cmdline: "unused",
			Publish: []runner.Port{{Proto: "tcp", Addr: "127.0.0.1", Guest: 80}},
			Disks:   []runner.Disk{{Path: bootSector(t), Serial: "a,b", ReadOnly: true}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m := x.m
			m.Arch, m.Accel = "amd64", "tcg"
			m.Disks = append([]runner.Disk{{Path: bootSector(t, x.code...)}}, m.Disks...)
			up := make(chan struct{})
			out := console{text: "OK\n", seen: up}
			var stdin io.Reader
			if x.typed != "" {
				r, w := io.Pipe()
				stdin = r
				go func() {
					<-up
					_, _ = io.WriteString(w, x.typed)
				}()
			}
			if x.press {
				m.PowerDown = up
			}
			err := QEMU{}.Run(ctx, m, stdin, &out)
			if x.want == "" && err != nil || x.want != "" && (err == nil || err.Error() != x.want) {
				t.Errorf("error %v, want %q", err, x.want)
			}
			if out.String() != x.console {
				t.Errorf("console: %q", out.String())
			}
		})
	}
}
