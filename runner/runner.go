// Package runner boots an artifact and joins its console.
package runner

import (
	"context"
	"errors"
	"io"
)

// ErrPanicked is the end of a guest whose kernel panicked.
var ErrPanicked = errors.New("the guest's kernel panicked")

// Machine is what to boot.
type Machine struct {
	Arch   string // GOARCH
	CPUs   int    // 0 is 1
	Memory int64  // bytes; 0 is 1 GiB
	Accel  string // "auto", "kvm" or "tcg"; "" is auto
	// Kernel is a path, of a kernel or, with UEFI, of a program; without one
	// the first disk is booted.
	Kernel   string
	Initrd   string // path
	Cmdline  string
	Firmware string // "bios" or "efi"; "" is the machine's own, BIOS on amd64
	Disks    []Disk
	Publish  []Port

	// NoReboot makes a restart of the guest an error that ends Run. A kernel
	// told panic=N restarts when it panics.
	NoReboot bool

	// PowerDown presses the power button each time something is received, and
	// once when it is closed; nil never does.
	PowerDown <-chan struct{}
}

// Disk is a disk image.
type Disk struct {
	Path     string
	Format   string // "raw", "qcow2", …; "" looks at its first bytes, which a guest can forge
	Serial   string // what the guest sees in /dev/disk/by-id; may be empty
	ReadOnly bool
	Snapshot bool // what is written is gone in the end
	CD       bool // a drive for CDs instead of a disk
}

// Port is a port of the guest that can be reached from here.
type Port struct {
	Proto string // "tcp" or "udp"
	Addr  string // address here; "" is all
	Host  uint16 // port here
	Guest uint16 // port in the guest
}

// Runner boots machines.
type Runner interface {
	// Run boots m, joins its console to the streams, and returns nil when it
	// was powered off: by itself, by the power button, or by the user at the
	// console. stdin may be nil. Cancelling ctx pulls the plug; the error is
	// then ctx's cause.
	Run(ctx context.Context, m Machine, stdin io.Reader, stdout io.Writer) error
}
