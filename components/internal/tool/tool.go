// Package tool runs the programs that an image brings along.
package tool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Verbose shows what is run, and what it says, on the console.
var Verbose bool

// Run runs a program with stdin, and is an error with what the program said if
// it fails. The status is -1 if it did not run to its end.
func Run(stdin, name string, args ...string) (status int, err error) {
	if Verbose {
		fmt.Println("+", name, strings.Join(args, " "))
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if Verbose {
		os.Stdout.Write(out)
	}
	if err == nil {
		return 0, nil
	}
	status = -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	}
	if said := bytes.TrimSpace(out); len(said) > 0 {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return status, fmt.Errorf("%s: %w", filepath.Base(name), err)
}
