// Command lkx builds and boots operating systems made of containers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/containerd/log"
	"github.com/spf13/cobra"

	"github.com/lkx-os/lkx/execop"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/plan"
)

func main() {
	_ = log.SetLevel("error") // libraries log what they try; errors say what failed
	saveMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// A build has little garbage, and so can be thrifty with memory.
const (
	gcPercent   = 25        // garbage there may be for what is in use
	memoryLimit = 160 << 20 // bytes from which on it is collected more often
)

// saveMemory sets these, unless the environment says something else.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// Exit codes.
const (
	exitError = 1 // what was asked for could not be done
	exitUsage = 2 // it was not understood
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var list source.Errors
	var usage usageError
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "lkx: interrupted")
	case errors.Is(err, errSaid):
	case errors.As(err, &list):
		source.Print(stderr, list)
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "lkx: %s\n\n%s\n", err, `Run "lkx --help" for the commands and their options.`)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "lkx:", err)
	}
	return exitError
}

// usageError is an error of the command line itself.
type usageError struct{ error }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "lkx",
		Short: "Build and boot operating systems made of containers",
		Long: `lkx turns a YAML manifest (LinuxKit's format) into something that boots.

  lkx build os.yml           builds kernel, initrd and command line
  lkx run os                 boots them in QEMU`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(buildCommand(), cacheCommand(), checkCommand(), diffCommand(), formatsCommand(), planCommand(), runCommand(),
		schemaCommand(), versionCommand(), execOpCommand())
	return root
}

// execOpCommand is what this program does when a builder runs it; see engine.BuildKit.
func execOpCommand() *cobra.Command {
	return &cobra.Command{
		Use: plan.ToolArg, Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return execop.Run(c.Context()) },
	}
}

// some is one argument or more, of which an error says what is missing.
func some(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{fmt.Errorf("%s: a %s is missing: %s", c.Name(), what, c.UseLine())}
		}
		return nil
	}
}

// exactly is cobra's ExactArgs with an error that says what is missing.
func exactly(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usageError{fmt.Errorf("%s: a %s is missing: %s", c.Name(), what, c.UseLine())}
		case len(args) > 1:
			return usageError{fmt.Errorf("%s takes one %s, not also %q", c.Name(), what, args[1])}
		}
		return nil
	}
}
