// Package runner boots an artifact and joins its console.
package runner

import (
	"context"
	"io"
)

// Machine is what to boot.
type Machine struct {
	Arch    string // GOARCH
	CPUs    int    // 0 is 1
	Memory  int64  // bytes; 0 is 1 GiB
	Accel   string // "auto", "kvm" or "tcg"; "" is auto
	Kernel  string // path
	Initrd  string // path
	Cmdline string
	Disks   []Disk
	Publish []Port

	// PowerDown presses the power button when something is received; nil never.
	PowerDown <-chan struct{}
}

// Disk is a disk image.
type Disk struct {
	Path     string
	Format   string // "raw", "qcow2", …; "" finds out
	Serial   string // what the guest sees in /dev/disk/by-id; may be empty
	ReadOnly bool
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
	// was powered off. stdin may be nil. Cancelling ctx pulls the plug.
	Run(ctx context.Context, m Machine, stdin io.Reader, stdout io.Writer) error
}
