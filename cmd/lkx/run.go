package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lkx-os/lkx/runner"
	"github.com/lkx-os/lkx/runner/qemu"
)

// runFlags are the options of "lkx run".
type runFlags struct {
	arch    string
	cpus    int
	mem     string
	accel   string
	boot    string
	attach  string
	qemu    string
	append  string
	data    string
	expect  string
	timeout time.Duration
	disks   []string
	publish []string
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [flags] FILE|PREFIX",
		Short: "Boot what was built, in QEMU",
		Long: `Run boots FILE, a disk, an ISO (as a CD) or a UKI, or PREFIX-kernel with
PREFIX-initrd.img and PREFIX-cmdline, the files of format kernel+initrd, with
PREFIX-squashfs.img, PREFIX-erofs.img or PREFIX.iso as disks if the command line
says that the root is on one. It joins the console: what is typed goes to the guest, ctrl-a x ends it, ctrl-a h lists
more. It returns when the guest powers off. Nothing is written to FILE.

With --expect it is a test: once the console shows the text, the power button is
pressed, and the exit code is 0 if the guest then powers off.`,
		Example: `  lkx run os
  lkx run os.iso
  lkx run --boot efi os.qcow2
  lkx run --mem 2G --cpus 2 --publish 8080:80 os
  lkx run --disk data.qcow2 os
  lkx run --expect "ready" --timeout 2m os   # in CI`,
		Args: exactly("file or prefix"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), args[0], c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.arch, "arch", runtime.GOARCH, "`ARCH` of the system: amd64 or arm64")
	c.Flags().IntVar(&f.cpus, "cpus", 2, "`NUMBER` of processors")
	c.Flags().StringVar(&f.mem, "mem", "1G", "memory, as `SIZE` with M or G")
	c.Flags().StringVar(&f.accel, "accel", "auto", "auto, kvm or tcg (emulation); auto takes kvm where it works")
	c.Flags().StringVar(&f.qemu, "qemu", "", "`PATH` of QEMU (default: found in PATH)")
	c.Flags().StringVar(&f.boot, "boot", "", "firmware that boots FILE: bios or efi (default bios on amd64 unless FILE is a UKI or ends in -efi.…, efi on arm64)")
	c.Flags().StringVar(&f.attach, "as", "", "FILE is a disk or a cd (default: cd if it ends in .iso)")
	c.Flags().StringVar(&f.append, "append", "", "`TEXT` to add to the kernel's command line")
	c.Flags().StringArrayVar(&f.disks, "disk", nil, "attach the disk image `FILE[,ro][,format=F]` (repeatable)")
	c.Flags().StringVar(&f.data, "data", "", "attach `FILE` read-only, as a disk with the serial number lkx-data")
	c.Flags().StringArrayVarP(&f.publish, "publish", "p", nil, "reach a port of the guest here: `[ADDR:]HOST:GUEST[/udp]` (repeatable)")
	c.Flags().StringVar(&f.expect, "expect", "", "power off when the console shows `TEXT`, and fail if it never does or the kernel panics")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "fail if the guest is not off after this `TIME`; 0 waits for ever")
	return c
}

func (f *runFlags) run(ctx context.Context, prefix string, stdin io.Reader, stdout, stderr io.Writer) error {
	m, err := f.machine(prefix)
	if err != nil {
		return err
	}
	if text := tooSmall(m); text != "" {
		fmt.Fprintln(stderr, "lkx: warning:", text)
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("the guest is not off after %s", f.timeout))
		defer cancel()
	}
	// Whoever reads the console may go, as head(1) does: QEMU must not stay.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGPIPE)
	defer stop()
	q := qemu.QEMU{Path: f.qemu}
	if f.expect == "" {
		return q.Run(ctx, m, stdin, stdout)
	}
	seen := make(chan struct{})
	m.PowerDown, m.NoReboot = seen, true
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stdout = &watch{w: stdout, want: []byte(panicked), seen: sync.OnceFunc(func() {
		time.AfterFunc(panicTime, func() { fail(runner.ErrPanicked) })
	})}
	stdout = &watch{w: stdout, want: []byte(f.expect), seen: sync.OnceFunc(func() { close(seen) })}
	err = q.Run(ctx, m, nil, stdout)
	select {
	case <-seen:
		if err != nil {
			return fmt.Errorf("after the console showed %q: %w", f.expect, err)
		}
		return nil
	default:
		if err == nil {
			err = errors.New("the guest is off")
		}
		return fmt.Errorf("the console never showed %q: %w", f.expect, err)
	}
}

// machine is what the options describe.
func (f *runFlags) machine(prefix string) (runner.Machine, error) {
	m := runner.Machine{Arch: f.arch, CPUs: f.cpus, Accel: f.accel}
	err := f.artifact(&m, prefix)
	if err != nil {
		return m, err
	}
	if m.Memory, err = parseSize(f.mem); err != nil {
		return m, usageError{fmt.Errorf("--mem: %w", err)}
	}
	for _, s := range f.disks {
		d, err := parseDisk(s)
		if err != nil {
			return m, usageError{fmt.Errorf("--disk: %w", err)}
		}
		m.Disks = append(m.Disks, d)
	}
	if f.data != "" {
		m.Disks = append(m.Disks, runner.Disk{Path: f.data, Format: "raw", Serial: "lkx-data", ReadOnly: true})
	}
	for _, s := range f.publish {
		p, err := parsePort(s)
		if err != nil {
			return m, usageError{fmt.Errorf("--publish: %w", err)}
		}
		m.Publish = append(m.Publish, p)
	}
	return m, nil
}

// artifact makes m boot name: a file that there is, or the files of kernel+initrd,
// kernel+squashfs and the like that begin with it.
func (f *runFlags) artifact(m *runner.Machine, name string) error {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return f.file(m, name)
	}
	if f.boot != "" || f.attach != "" {
		return usageError{fmt.Errorf("--boot and --as are for a file, and %s is none", name)}
	}
	m.Kernel, m.Initrd = name+"-kernel", name+"-initrd.img"
	for _, part := range []string{m.Kernel, m.Initrd} {
		if _, err := os.Stat(part); err != nil {
			return fmt.Errorf("nothing to boot: %w; build it first: lkx build -o DIR MANIFEST", err)
		}
	}
	cmdline, err := os.ReadFile(name + "-cmdline")
	if err != nil {
		return fmt.Errorf("reading the command line: %w", err)
	}
	m.Cmdline = strings.TrimSpace(string(cmdline) + " " + f.append)
	if strings.Contains(m.Cmdline, "lkx.root=") {
		m.Disks = rootDisks(name)
	}
	return nil
}

// rootDisks are the files that begin with prefix and can hold a root file
// system. One of an earlier build does no harm: the command line says which.
func rootDisks(prefix string) []runner.Disk {
	var out []runner.Disk
	for _, suffix := range []string{"-squashfs.img", "-erofs.img", ".iso"} {
		if _, err := os.Stat(prefix + suffix); err == nil {
			cd := suffix == ".iso"
			out = append(out, runner.Disk{Path: prefix + suffix, Format: "raw", ReadOnly: !cd, CD: cd})
		}
	}
	return out
}

// file makes m boot one file.
func (f *runFlags) file(m *runner.Machine, name string) error {
	ext := filepath.Ext(name)
	isUKI := ext == ".efi"
	m.Firmware = f.boot
	if f.boot == "" && (isUKI || m.Arch == "arm64" || strings.HasSuffix(strings.TrimSuffix(name, ext), "-efi")) {
		m.Firmware = "efi"
	}
	switch {
	case f.append != "":
		return usageError{errors.New("--append is for kernel+initrd: a file has its own command line")}
	case f.boot != "" && f.boot != "bios" && f.boot != "efi":
		return usageError{fmt.Errorf("--boot %q is neither bios nor efi", f.boot)}
	case f.attach != "" && f.attach != "disk" && f.attach != "cd":
		return usageError{fmt.Errorf("--as %q is neither disk nor cd", f.attach)}
	case f.boot == "bios" && m.Arch != "amd64":
		return usageError{fmt.Errorf("%s has no BIOS", m.Arch)}
	case isUKI && m.Firmware != "efi":
		return usageError{errors.New("a UKI boots with --boot efi only")}
	case isUKI:
		m.Kernel = name
		return nil
	}
	m.Disks = []runner.Disk{{Path: name, Snapshot: true, CD: f.attach == "cd" || f.attach == "" && ext == ".iso"}}
	return nil
}

// parseSize reads "512M" or "2G"; a bare number is of MiB. The result is in bytes.
func parseSize(s string) (int64, error) {
	number, unit := s, int64(1<<20)
	switch {
	case strings.HasSuffix(s, "G"):
		number, unit = strings.TrimSuffix(s, "G"), 1<<30
	case strings.HasSuffix(s, "M"):
		number = strings.TrimSuffix(s, "M")
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a size; write 512M or 2G", s)
	}
	return n * unit, nil
}

// parseDisk reads "FILE[,ro][,format=F]".
func parseDisk(s string) (runner.Disk, error) {
	parts := strings.Split(s, ",")
	d := runner.Disk{Path: parts[0]}
	for _, o := range parts[1:] {
		if format, ok := strings.CutPrefix(o, "format="); ok {
			d.Format = format
		} else if o == "ro" {
			d.ReadOnly = true
		} else {
			return d, fmt.Errorf("unknown option %q in %q; there are: ro, format=F", o, s)
		}
	}
	return d, nil
}

// parsePort reads "[ADDR:]HOST:GUEST[/tcp|/udp]".
func parsePort(s string) (runner.Port, error) {
	bad := fmt.Errorf("%q is not a port; write 8080:80, 127.0.0.1:8080:80 or 53:53/udp", s)
	ports, proto, given := strings.Cut(s, "/")
	if !given {
		proto = "tcp"
	}
	i := strings.LastIndex(ports, ":")
	if i < 0 || proto != "tcp" && proto != "udp" {
		return runner.Port{}, bad
	}
	p := runner.Port{Proto: proto}
	host := ports[:i]
	if j := strings.LastIndex(host, ":"); j >= 0 {
		p.Addr, host = host[:j], host[j+1:]
		if net.ParseIP(p.Addr) == nil {
			return runner.Port{}, bad
		}
	}
	hostPort, err1 := strconv.ParseUint(host, 10, 16)
	guestPort, err2 := strconv.ParseUint(ports[i+1:], 10, 16)
	if err1 != nil || err2 != nil || hostPort == 0 || guestPort == 0 {
		return runner.Port{}, bad
	}
	p.Host, p.Guest = uint16(hostPort), uint16(guestPort)
	return p, nil
}

// panicked is what a kernel says that panics. It then waits for ever, and has told
// QEMU of it only if it had loaded the driver for that; panicTime is for the rest of
// what it says.
const (
	panicked  = "Kernel panic - not syncing: "
	panicTime = 2 * time.Second
)

// watch passes a console on, and tells when it shows a text.
type watch struct {
	w    io.Writer
	want []byte
	tail []byte // the end of what was shown, shorter than want
	seen func()
}

func (t *watch) Write(p []byte) (int, error) {
	text := append(t.tail, p...)
	if bytes.Contains(text, t.want) {
		t.seen()
	}
	t.tail = bytes.Clone(text[max(0, len(text)-len(t.want)+1):])
	return t.w.Write(p)
}
