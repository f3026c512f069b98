// Command crypto opens an encrypted disk as /dev/mapper/NAME:
//
//	crypto [flags] NAME [DEVICE]
//
// With -luks it has a LUKS header, which -format makes on an empty disk, once.
// Without, all of the device is encrypted, and nothing on it says so (plain).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lkx-os/lkx/components/internal/disk"
	"github.com/lkx-os/lkx/components/internal/tool"
)

// keys is where key files are.
const keys = "/etc/dm-crypt"

// options are the command line.
type options struct {
	name    string // of the mapping
	device  string // "" for LABEL=NAME, or an empty disk
	key     string // path
	cipher  string // of plain
	luks    bool
	format  bool
	timeout time.Duration
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
		fmt.Fprintln(os.Stderr, "dm-crypt:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("crypto", flag.ContinueOnError)
	for _, name := range []string{"k", "key"} {
		f.StringVar(&o.key, name, "key", "`FILE` with the key, in "+keys+" or with its whole path; /dev/urandom is a new one at every boot")
	}
	for _, name := range []string{"l", "luks"} {
		f.BoolVar(&o.luks, name, false, "there is a LUKS header")
	}
	f.BoolVar(&o.format, "format", false, "make an empty disk an encrypted one")
	f.StringVar(&o.cipher, "cipher", "aes-xts-plain64", "`CIPHER` without LUKS, with a key of 32 bytes")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long DEVICE is waited for")
	f.BoolVar(&tool.Verbose, "verbose", false, "show what is run")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.name, o.device = f.Arg(0), f.Arg(1)
	if !filepath.IsAbs(o.key) {
		o.key = filepath.Join(keys, o.key)
	}
	switch {
	case f.NArg() < 1 || f.NArg() > 2:
		return o, fmt.Errorf("want NAME [DEVICE], got %q", f.Args())
	case o.name == "" || o.name == "control" || strings.ContainsAny(o.name, "/ "):
		return o, fmt.Errorf("%q cannot be the name of a mapping", o.name)
	case o.device == "" && !o.luks:
		return o, errors.New("without -luks, DEVICE must be given: nothing on it says that it is the one")
	case o.device != "":
		return o, disk.CheckSpec(o.device)
	}
	return o, nil
}

func run(o options) error {
	if _, err := os.Stat("/dev/mapper/" + o.name); err == nil {
		fmt.Printf("dm-crypt: /dev/mapper/%s is open already\n", o.name)
		return nil
	}
	if _, err := os.Stat(o.key); err != nil {
		return fmt.Errorf("the key: %w", err)
	}
	// There is no udev to make nodes.
	if err := os.Setenv("DM_DISABLE_UDEV", "1"); err != nil {
		return err
	}
	open := openPlain
	if o.luks {
		open = openLUKS
	}
	f, err := open(o)
	if err != nil {
		return err
	}
	fmt.Printf("dm-crypt: /dev/mapper/%s is %s, opened\n", o.name, f.Path)
	return nil
}

// cryptsetup runs Debian's. Its locks are against others that use the device
// meanwhile, and there are none.
func cryptsetup(args ...string) error {
	_, err := tool.Run("", "/sbin/cryptsetup", append([]string{"--batch-mode", "--disable-locks"}, args...)...)
	return err
}
