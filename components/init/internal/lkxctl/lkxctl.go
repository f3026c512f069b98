// Package lkxctl is the command line with which people look at the system and
// change it.
package lkxctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/lkx-os/lkx/components/init/internal/control"
)

// Exit codes.
const (
	exitFailed = 1 // it was refused, or failed
	exitUsage  = 2 // the command line is wrong
	exitAway   = 3 // the system does not answer
)

// usage is what help shows.
const usage = `lkxctl looks at the system's containers, and changes what they do.

  lkxctl ls [--json]                 containers with their states, restarts, memory, time
  lkxctl logs [-f] [-n N] [-t] [--stdout|--stderr] [NAME...]
                                     what services, onboot containers, containerd or lkx said
  lkxctl start NAME...               start services
  lkxctl stop NAME...                stop services; they stay stopped
  lkxctl restart NAME...             stop services and start them again
  lkxctl status [--json]             the machine: uptime, memory, how many run
  lkxctl poweroff | reboot | halt    take the machine down in order

-H ADDRESS before the command: another socket, unix:///run/lkx/control.sock, or
another machine, vsock://CID:PORT, which has lkx.vsock=PORT on its command line.

Examples:
  lkxctl logs -f -n 20 web           the last 20 lines, and those to come
  lkxctl logs onboot/000-dhcpcd      what an onboot container said; dhcpcd will do
  lkxctl logs lkx                    starts, ends and failures of services
  lkxctl -H vsock://3:1024 ls        from the host of a virtual machine

Status: 0 done, 1 refused or failed, 2 wrong usage, 3 the system does not answer.
`

// usageError is a command line that makes no sense.
type usageError struct{ error }

// ctl is one call of the program.
type ctl struct {
	client
	stdout, stderr io.Writer
}

// Run does what the arguments ask for and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := run(ctx, args, stdout, stderr)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "lkxctl:", err)
	var hinted *hintError
	if errors.As(err, &hinted) && hinted.hint != "" {
		fmt.Fprintln(stderr, "  hint:", hinted.hint)
	}
	switch {
	case errors.As(err, &usageError{}):
		return exitUsage
	case errors.Is(err, errAway):
		return exitAway
	}
	return exitFailed
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("")
	help := f.Bool("help", false, "")
	address := f.String("H", "", "")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		*help = true
	} else if err != nil {
		return usageError{fmt.Errorf("%w; lkxctl help shows what there is", err)}
	}
	name := f.Arg(0)
	if *help || name == "help" || name == "" && f.NArg() == 0 {
		fmt.Fprint(stdout, usage)
		return nil
	}
	c, err := newClient(*address)
	if err != nil {
		return err
	}
	return (&ctl{c, stdout, stderr}).command(ctx, name, f.Args()[1:])
}

// command runs the command of that name.
func (c *ctl) command(ctx context.Context, name string, args []string) error {
	switch name {
	case "ls":
		return c.ls(ctx, args)
	case "logs":
		return c.logs(ctx, args)
	case "status":
		return c.status(ctx, args)
	case "start", "stop", "restart":
		return c.tell(ctx, name, args)
	case "poweroff", "reboot", "halt":
		if _, err := parse(flags(name), args, 0); err != nil {
			return err
		}
		_, err := c.ask(ctx, control.Request{Do: name}, nil)
		return err
	}
	return usageError{fmt.Errorf("there is no command %q; lkxctl help shows what there is", name)}
}

// tell has services start, stop or restart, one after the other.
func (c *ctl) tell(ctx context.Context, verb string, args []string) error {
	names, err := parse(flags(verb), args, -1)
	if err == nil && len(names) == 0 {
		err = usageError{fmt.Errorf("%s which service? lkxctl ls shows what there is", verb)}
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		reply, err := c.ask(ctx, control.Request{Do: verb, Names: []string{name}}, nil)
		if err != nil {
			return fmt.Errorf("%s %s: %w", verb, name, err)
		}
		for _, now := range reply.Containers {
			fmt.Fprintf(c.stdout, "%s: %s%s\n", name, now.State, prefixed(", pid ", number(now.PID)))
		}
	}
	return nil
}

// prefixed is text with a prefix, and "" for "-".
func prefixed(prefix, text string) string {
	if text == "-" {
		return ""
	}
	return prefix + text
}

func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(strings.TrimSpace("lkxctl "+name), flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// parse reads flags that may stand before, between and behind up to most names;
// -1 is any number.
func parse(f *flag.FlagSet, args []string, most int) ([]string, error) {
	var names []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, usageError{fmt.Errorf("%s: %w; lkxctl help shows what there is", f.Name(), err)}
		}
		if f.NArg() == 0 {
			break
		}
		names, args = append(names, f.Arg(0)), f.Args()[1:]
	}
	if most >= 0 && len(names) > most {
		return nil, usageError{fmt.Errorf("%s takes no %q", f.Name(), names[most])}
	}
	return names, nil
}
