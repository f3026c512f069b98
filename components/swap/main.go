// Command swap turns swap on: in a file on a disk that is mounted, on a device
// of its own, or in compressed memory.
//
//	swap -path FILE -size SIZE
//	swap -device DEVICE
//	swap -zram SIZE
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lkx-os/lkx/components/internal/disk"
)

// options are the command line.
type options struct {
	path       string
	size       int64 // of the file
	device     string
	zram       int64 // bytes
	force      bool
	timeout    time.Duration
	conditions []condition
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "swap:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("swap", flag.ContinueOnError)
	size := func(to *int64) func(string) error {
		return func(text string) (err error) {
			*to, err = disk.ParseSize(text)
			return err
		}
	}
	f.StringVar(&o.path, "path", "", "a `FILE` on a disk, made if it is missing")
	f.Func("size", "`SIZE` of the file, such as 512M or 2G", size(&o.size))
	f.StringVar(&o.device, "device", "", "a `DEVICE`: /dev/NAME, LABEL=…, SERIAL=…")
	f.Func("zram", "`SIZE` of what is kept compressed in memory", size(&o.zram))
	f.BoolVar(&o.force, "force", false, "take DEVICE whatever is on it")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long DEVICE is waited for")
	f.Func("condition", "part:`PATH`[:true], partsize:PATH:SIZE[:true]: only if PATH is a mount point, or on a file system of that size; with true it is an error otherwise", func(text string) error {
		c, err := parseCondition(text)
		o.conditions = append(o.conditions, c)
		return err
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	kinds := 0
	for _, given := range []bool{o.path != "", o.device != "", o.zram != 0} {
		if given {
			kinds++
		}
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	case kinds != 1:
		return o, errors.New("want one of -path, -device and -zram")
	case o.path != "" && (o.size == 0 || !filepath.IsAbs(o.path)):
		return o, errors.New("-path wants a path that begins with /, and -size")
	case o.device != "":
		return o, disk.CheckSpec(o.device)
	}
	return o, nil
}

func run(o options) error {
	for _, c := range o.conditions {
		if err := c.met(); err != nil {
			if c.required {
				return err
			}
			fmt.Printf("swap: none: %v\n", err)
			return nil
		}
	}
	switch {
	case o.path != "":
		return file(o.path, o.size)
	case o.zram != 0:
		return zram(o.zram)
	}
	return device(o)
}
