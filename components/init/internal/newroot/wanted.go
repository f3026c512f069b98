// Package newroot goes from an initramfs over to a root file system on a block
// device: it finds the device by what is on it, mounts it read-only and starts
// its init. It mounts nothing of a type that it was not told and does not know.
package newroot

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

// Wanted is the root file system that the kernel's command line asks for.
type Wanted struct {
	By   string        // how it is known: one of the constants
	Name string        // as By has it
	Type string        // of the file system; "" is found out
	Wait time.Duration // for the device to show up
}

// What a root file system is known by.
const (
	byUUID      = "UUID"
	byLabel     = "LABEL"
	byPartition = "PARTUUID"
	byDevice    = "/dev" // Name is absolute
)

const defaultWait = time.Minute

// Parse reads lkx.root=, lkx.rootfstype= and lkx.rootwait=. It is nil without
// lkx.root=. A wait that is no time is an error next to the rest, which holds.
func Parse(args cmdline.Args) (*Wanted, error) {
	text := args.Get("lkx.root")
	if text == "" {
		return nil, nil
	}
	w := &Wanted{Type: args.Get("lkx.rootfstype")}
	by, name, ok := strings.Cut(text, "=")
	switch {
	case !ok && strings.HasPrefix(text, "/dev/"):
		w.By, w.Name = byDevice, filepath.Clean(text)
	case ok && name != "" && (by == byUUID || by == byLabel || by == byPartition):
		w.By, w.Name = by, name
	default:
		return nil, fmt.Errorf("lkx.root=%s is none of UUID=…, LABEL=…, PARTUUID=…, /dev/…", text)
	}
	var err error
	w.Wait, err = args.Duration("lkx.rootwait", defaultWait)
	return w, err
}

// String is what the command line says: "UUID=…", "/dev/vda".
func (w *Wanted) String() string {
	if w.By == byDevice {
		return w.Name
	}
	return w.By + "=" + w.Name
}
