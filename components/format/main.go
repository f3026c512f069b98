// Command format makes a file system for data on an empty disk, once: what has
// been formatted is left alone on the next boot, and what has data on it always.
//
//	format [flags] [DEVICE]
//
// DEVICE is /dev/NAME, SERIAL=…, LABEL=… and so on; without it, the first disk
// of the machine with nothing on it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/lkx-os/lkx/components/internal/disk"
	"github.com/lkx-os/lkx/components/internal/tool"
)

// options are the command line.
type options struct {
	device  string // "" for the first empty disk
	label   string
	named   bool // the label was asked for
	fsType  string
	force   bool
	free    bool
	timeout time.Duration
}

// maxLabel is the length of a label by type of file system, in bytes.
var maxLabel = map[string]int{"ext4": 16, "xfs": 12}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "format:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("format", flag.ContinueOnError)
	f.StringVar(&o.label, "label", "data", "the file system's `label`, by which it is found again")
	f.StringVar(&o.fsType, "type", "ext4", "ext4 or xfs")
	f.BoolVar(&o.force, "force", false, "make it anew at every boot; what is there is lost")
	f.BoolVar(&o.free, "free", false, "take what the partitions of the boot disk leave free")
	f.BoolVar(&tool.Verbose, "verbose", false, "show what is run")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long DEVICE is waited for")
	table := f.String("partition", "gpt", "kind of partition table: gpt")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	f.Visit(func(f *flag.Flag) { o.named = o.named || f.Name == "label" })
	o.device = f.Arg(0)
	limit, known := maxLabel[o.fsType]
	switch {
	case f.NArg() > 1:
		return o, fmt.Errorf("more than one device: %q", f.Args())
	case !known:
		return o, fmt.Errorf("-type %s: there are ext4 and xfs", o.fsType)
	case o.label == "" || len(o.label) > limit:
		return o, fmt.Errorf("-label %q: a label of %s has 1 to %d bytes", o.label, o.fsType, limit)
	case *table != "gpt":
		return o, fmt.Errorf("-partition %s: there is gpt alone", *table)
	case o.free && o.device != "":
		return o, errors.New("-free takes the boot disk, and no DEVICE")
	}
	if o.device != "" {
		return o, disk.CheckSpec(o.device)
	}
	return o, nil
}

func run(o options) error {
	t, err := choose(o)
	if err != nil || t.done {
		return err
	}
	return t.format(o)
}
