package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/backoff"
	"github.com/lkx-os/lkx/components/internal/cmdline"
)

// line is a terminal.
type line struct {
	name  string // "ttyS0", in /dev
	speed uint32 // a constant of termios(3); 0 is the one that it has
}

// speeds are what serial lines are asked for.
var speeds = map[string]uint32{
	"9600": unix.B9600, "19200": unix.B19200, "38400": unix.B38400, "57600": unix.B57600, "115200": unix.B115200,
	"230400": unix.B230400, "460800": unix.B460800, "921600": unix.B921600, "1500000": unix.B1500000,
}

// terminals are those of the arguments, else the consoles of the kernel's
// command line, each once.
func terminals(args []string, kernel cmdline.Args) ([]line, error) {
	given := args
	if len(given) == 0 {
		for _, a := range kernel {
			if a.Name == "console" && a.Value != "" && a.Value != "null" {
				given = append(given, a.Value)
			}
		}
	}
	var out []line
	seen := map[string]bool{}
	for _, text := range given {
		l := parseLine(text)
		if !seen[l.name] {
			out = append(out, l)
		}
		seen[l.name] = true
	}
	if len(out) == 0 {
		return nil, errors.New("no terminal: the kernel's command line has no console=, and there are no arguments, such as ttyS0")
	}
	return out, nil
}

// parseLine reads a terminal as the kernel's console= has it: "ttyS0,115200n8".
// Another speed than the known ones leaves the line as it is. tty0 is whichever
// virtual terminal is in front: the login is on the first.
func parseLine(text string) line {
	name, options, _ := strings.Cut(strings.TrimPrefix(text, "/dev/"), ",")
	if name == "tty0" {
		name = "tty1"
	}
	digits := strings.IndexFunc(options, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(options)
	}
	return line{name, speeds[options[:digits]]}
}

// virtual tells whether the terminal is a screen and keyboard of the machine's.
func (l line) virtual() bool {
	_, err := strconv.Atoi(strings.TrimPrefix(l.name, "tty"))
	return err == nil
}

func (l line) term() string {
	if l.virtual() {
		return "linux"
	}
	return "vt220"
}

// serve offers one login after the other until ctx is done.
func (l line) serve(ctx context.Context, insecure bool) {
	var pause backoff.Backoff
	said := ""
	for ctx.Err() == nil {
		began := time.Now()
		err := l.login(ctx, insecure)
		if err != nil && err.Error() != said {
			said = err.Error()
			fmt.Fprintf(os.Stderr, "getty: %s: %v\n", l.name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause.Next(time.Since(began))):
		}
	}
}

// login serves one login, from the prompt to the end of the shell. That this is
// no error has the last word of the shell.
func (l line) login(ctx context.Context, insecure bool) error {
	// A line without anyone at its other end must not keep this from opening it.
	tty, err := os.OpenFile(filepath.Join("/dev", l.name), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	fd := int(tty.Fd())
	err = unix.SetNonblock(fd, false) // a login waits for what is typed
	if err == nil {
		err = reset(fd, l.speed)
	}
	if err != nil {
		return fmt.Errorf("setting the terminal: %w", err)
	}
	if _, err := fmt.Fprint(tty, banner(l.name, insecure)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/bin/login")
	if insecure {
		cmd.Args = append(cmd.Args, "-f", "root")
	}
	cmd.Env = []string{"TERM=" + l.term(), "PATH=/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	// The login becomes the leader of a session of its own with this terminal,
	// which it takes from whoever has it: that makes ctrl-c and jobs work.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGHUP) }
	cmd.WaitDelay = 2 * time.Second
	var status *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &status) {
		return fmt.Errorf("starting the login: %w", err)
	}
	return nil
}
