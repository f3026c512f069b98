package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// loginVariable is in the environment of a login that is to run something else.
const loginVariable = "LKX_LOGIN"

// What a login runs, the first that is there: a shell in images for debugging,
// else what controls the system's services.
var (
	shells   = []string{"/bin/sh"}
	controls = []string{"/usr/bin/lkxctl", "/host/usr/bin/lkxctl"}
)

// login serves who logged in. sshd calls it with "-c COMMAND", or as "-lkx-login"
// for a session without a command.
func login(args []string) error {
	words, given := []string(nil), len(args) > 2 && args[1] == "-c"
	if given {
		words = strings.Fields(args[2])
	}
	if own := strings.Fields(os.Getenv(loginVariable)); len(own) > 0 {
		return become(own[0], append(own, words...)...)
	}
	if shell := first(shells); shell != "" {
		if err := path(); err != nil {
			return err
		}
		if given {
			return become(shell, shell, "-c", args[2])
		}
		return become(shell, "-"+filepath.Base(shell)) // a login shell
	}
	control := first(controls)
	if control == "" {
		return errors.New("you are logged in, but there is nothing to run: neither lkxctl nor a shell")
	}
	if !given {
		return converse(control, os.Stdin, os.Stdout)
	}
	return become(control, append([]string{control}, operands(words)...)...)
}

// path lets a shell find the host's programs, such as lkxctl.
func path() error {
	return os.Setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin:/host/usr/bin:/host/usr/sbin:/host/sbin")
}

// operands leaves out the name of the program, with which a command may begin.
func operands(words []string) []string {
	if len(words) > 0 && filepath.Base(words[0]) == "lkxctl" {
		return words[1:]
	}
	return words
}

func first(names []string) string {
	if i := slices.IndexFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && info.Mode()&0o111 != 0
	}); i >= 0 {
		return names[i]
	}
	return ""
}

// converse runs the program for each line, with its words as arguments, until
// the end of in or "exit".
func converse(program string, in io.Reader, out io.Writer) error {
	// Ctrl-C ends what runs, and not this.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	fmt.Fprintln(out, "Each line is a command of lkxctl, such as ls or help; exit ends.")
	lines := bufio.NewScanner(in)
	for {
		fmt.Fprint(out, "lkxctl> ")
		if !lines.Scan() {
			fmt.Fprintln(out)
			return lines.Err()
		}
		words := operands(strings.Fields(lines.Text()))
		switch {
		case len(words) == 0:
			continue
		case words[0] == "exit" || words[0] == "quit":
			return nil
		}
		cmd := exec.Command(program, words...)
		cmd.Stdout, cmd.Stderr = out, out
		var failed *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &failed) { // else it said why
			fmt.Fprintln(out, err)
		}
	}
}
