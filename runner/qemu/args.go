package qemu

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/lkx-os/lkx/runner"
)

// defaultMemory is that of a machine which does not say, in bytes.
const defaultMemory = 1 << 30

// arguments are QEMU's for m. It inherits its control connection as monitorFD.
func arguments(m runner.Machine, accel string) ([]string, error) {
	out := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", programs[m.Arch].machine, "-accel", accel, "-cpu", cpu(m.Arch, accel),
		"-smp", strconv.Itoa(cmp.Or(m.CPUs, 1)),
		"-m", strconv.FormatInt(cmp.Or(m.Memory, defaultMemory)>>20, 10) + "M",
		"-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console", "-mon", "chardev=console",
		"-chardev", fmt.Sprintf("socket,id=control,fd=%d", monitorFD), "-mon", "chardev=control,mode=control",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
		"-device", "pvpanic-pci", // tells us of a kernel panic
	}
	if hasPowerKey(m) {
		out = append(out, "-device", "virtio-keyboard-pci")
	}
	if m.NoReboot {
		out = append(out, "-no-reboot")
	}
	if m.Firmware == "efi" {
		code, vars, err := efi(m.Arch, os.Stat)
		if err != nil {
			return nil, err
		}
		// Variables that the firmware sets are gone when QEMU ends.
		out = append(out, "-drive", "if=pflash,unit=0,format=raw,read-only=on,file="+escape(code),
			"-drive", "if=pflash,unit=1,format=raw,snapshot=on,file="+escape(vars))
	}
	if m.Kernel != "" {
		out = append(out, "-kernel", m.Kernel)
		if text := cmdline(m, accel); text != "" {
			out = append(out, "-append", text)
		}
	}
	if m.Initrd != "" {
		out = append(out, "-initrd", m.Initrd)
	}
	net := "user,id=net"
	for _, p := range m.Publish {
		net += fmt.Sprintf(",hostfwd=%s:%s:%d-:%d", p.Proto, p.Addr, p.Host, p.Guest)
	}
	// No boot ROM: nothing boots from the network, and QEMU's may be missing.
	out = append(out, "-netdev", net, "-device", "virtio-net-pci,netdev=net,romfile=")
	for i, d := range m.Disks {
		drive, device, err := disk(i, d)
		if err != nil {
			return nil, err
		}
		if d.CD { // a driver that kernels for clouds have, unlike that of the machine's own controller
			out = append(out, "-device", "virtio-scsi-pci")
		}
		if i == 0 && m.Kernel == "" {
			device += ",bootindex=0"
		}
		out = append(out, "-drive", drive, "-device", device)
	}
	return out, nil
}

// cmdline is the command line of m's kernel. As it starts, a kernel for x86 counts
// ticks of the timer for a moment, and panics if too few come: on a busy host an
// emulator is late with them. It is told not to, as KVM tells it. A unified kernel
// image brings its own command line, which any other would replace.
func cmdline(m runner.Machine, accel string) string {
	if m.Arch == "amd64" && accel == "tcg" && m.Cmdline != "" {
		return "no_timer_check " + m.Cmdline // first: what follows "--" is for the init
	}
	return m.Cmdline
}

// hasPowerKey tells whether the power button of m is a key of its keyboard. An
// arm64 machine without UEFI has no ACPI, and its button is a GPIO that the
// device tree tells of; kernels for clouds have no driver for that (gpio-keys).
func hasPowerKey(m runner.Machine) bool {
	return m.Arch == "arm64" && m.Kernel != "" && m.Firmware != "efi"
}

// powerButton is the command that presses the power button of m.
func powerButton(m runner.Machine) string {
	if !hasPowerKey(m) {
		return `{"execute": "system_powerdown"}`
	}
	const event = `{"type": "key", "data": {"down": %t, "key": {"type": "qcode", "data": "power"}}}`
	return fmt.Sprintf(`{"execute": "input-send-event", "arguments": {"events": [`+event+`, `+event+`]}}`, true, false)
}

// cpu is the most capable processor.
func cpu(arch, accel string) string {
	switch {
	case accel != "tcg":
		return "host"
	case arch == "arm64":
		return "max,pauth-impdef=on" // the other pointer authentication is slow to emulate
	}
	return "max"
}

// disk is the image and the device of the i-th disk.
func disk(i int, d runner.Disk) (drive, device string, err error) {
	format, err := diskFormat(d)
	if err != nil {
		return "", "", err
	}
	path, err := filepath.Abs(d.Path) // "a:b" would be a protocol
	if err != nil {
		return "", "", err
	}
	drive = fmt.Sprintf("if=none,id=disk%d,file=%s,format=%s", i, escape(path), format)
	if d.CD {
		return drive + ",media=cdrom,read-only=on", fmt.Sprintf("scsi-cd,drive=disk%d", i), nil
	}
	if d.ReadOnly {
		drive += ",read-only=on"
	} else if d.Snapshot {
		drive += ",snapshot=on"
	} else {
		drive += ",discard=unmap"
	}
	device = fmt.Sprintf("virtio-blk-pci,drive=disk%d", i)
	if d.Serial != "" {
		device += ",serial=" + escape(d.Serial)
	}
	return drive, device, nil
}

// escape doubles commas, as values in QEMU's lists of options need.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// magics begin disk images of formats that QEMU must be told of.
var magics = []struct{ magic, format string }{
	{"QFI\xfb", "qcow2"}, {"KDMV", "vmdk"}, {"vhdxfile", "vhdx"}, {"conectix", "vpc"},
}

// diskFormat is QEMU's name for the format of d.
func diskFormat(d runner.Disk) (string, error) {
	if d.Format != "" {
		return d.Format, nil
	}
	f, err := os.Open(d.Path)
	if err != nil {
		return "", fmt.Errorf("opening the disk: %w", err)
	}
	defer f.Close()
	head := make([]byte, 8)
	if _, err := io.ReadFull(f, head); err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return "", fmt.Errorf("reading the disk: %w", err)
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format, nil
		}
	}
	return "raw", nil
}

// hostInfo is what decides whether hardware virtualization can work here.
type hostInfo struct {
	arch    string // GOARCH
	cpuinfo string // /proc/cpuinfo
	kvm     bool   // /dev/kvm can be opened
}

func host() hostInfo {
	h := hostInfo{arch: runtime.GOARCH}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.cpuinfo = string(text)
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		h.kvm = true
		f.Close()
	}
	return h
}

// accelerator is the one to use: what is wanted, or for "auto" KVM where it can
// work. On x86 the device alone is no proof: a guest of a hypervisor can have
// /dev/kvm without the instructions, and its guests hang.
func accelerator(want, arch string, h hostInfo) string {
	switch {
	case want != "" && want != "auto":
		return want
	case !h.kvm || arch != h.arch || h.arch == "amd64" && !virtualizes(h.cpuinfo):
		return "tcg"
	}
	return "kvm"
}

// virtualizes tells whether an x86 processor says it has VMX or SVM.
func virtualizes(cpuinfo string) bool {
	for line := range strings.SplitSeq(cpuinfo, "\n") {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "flags" {
			flags := strings.Fields(value)
			return slices.Contains(flags, "vmx") || slices.Contains(flags, "svm")
		}
	}
	return false
}
