// Command getty offers a login on terminals:
//
//	getty [TTY[,SPEED]…]
//
// Without arguments these are the consoles of the kernel's command line. A
// login needs root's password, of /etc/getty.shadow; with INSECURE=true in the
// environment it needs none. As resize it tells the kernel the size of the
// terminal that it runs on.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func main() {
	run := offer
	if filepath.Base(os.Args[0]) == "resize" {
		run = func(context.Context, []string) error { return resize(os.Stdin) }
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "getty:", err)
		os.Exit(1)
	}
}

// offer offers a login on all terminals until ctx is done.
func offer(ctx context.Context, args []string) error {
	consoles, err := cmdline.Read()
	if err != nil {
		return err
	}
	lines, err := terminals(args, consoles)
	if err != nil {
		return err
	}
	insecure := os.Getenv("INSECURE") == "true"
	if !insecure {
		if err := takeShadow(shadows, "/etc/shadow"); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	for _, l := range lines {
		all.Go(func() { l.serve(ctx, insecure) })
	}
	all.Wait()
	return nil
}

// shadows are where the manifest's /etc/getty.shadow can be: bound alone, as
// this image's label binds the system, and as LinuxKit's does.
var shadows = []string{"/etc/getty.shadow", "/host/etc/getty.shadow", "/hostroot/etc/getty.shadow"}

// takeShadow makes the first of files that is there the passwords of logins.
func takeShadow(files []string, to string) error {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to, append(text, '\n'), 0o600)
		}
		if err != nil {
			return fmt.Errorf("taking the passwords: %w", err)
		}
		return nil
	}
	return errors.New("nobody can log in: there is no /etc/getty.shadow with root's password " +
		"(a line root:HASH:::::::, HASH of openssl passwd -6), and INSECURE=true is not in the environment")
}
