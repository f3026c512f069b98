// Command lkx-sshd prepares and starts Debian's sshd:
//
//	lkx-sshd [-login "PROGRAM ARGUMENT…"] [OPTION OF sshd…]
//
// and is, as lkx-login, the shell of root, whom sshd lets in.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	run := serve
	if strings.TrimPrefix(filepath.Base(os.Args[0]), "-") == "lkx-login" {
		run = login
	}
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "sshd:", err)
		os.Exit(1)
	}
}

// become replaces this program; it returns only with an error.
func become(path string, args ...string) error {
	if err := unix.Exec(path, args, os.Environ()); err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	return nil
}
