// Package formats names the artifacts lkx can make and says how each is composed.
package formats

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// A Format is one kind of artifact.
type Format struct {
	Name    string   // as users type it: lower case, LinuxKit's where it has one
	Aliases []string // other names that are accepted
	Doc     string   // one line, for "lkx formats"
	Boots   string   // what it boots with, on amd64; "" if it does not boot by itself
	Arches  []string // GOARCH values; nil is every one
	Flat    bool     // what is free on the disk is zeros in the file, which who copies it may write out
	Needs
	// Files are the names of what is written, for the base name of a build.
	Files func(base string) []string
	// Begin, if it is set, makes those of the files in out that need nothing of the
	// input but Base, Boot and Old.
	Begin write
	// Write makes the others, and no more.
	Write write
}

// write makes files in out.
type write = func(ctx context.Context, in Input, out *os.Root) error

// Make makes all files of f in out.
func (f *Format) Make(ctx context.Context, in Input, out *os.Root) error {
	if f.Begin != nil {
		if err := f.Begin(ctx, in, out); err != nil {
			return err
		}
	}
	return f.Write(ctx, in, out)
}

// Needs is what of an [Input] formats are made from.
type Needs struct {
	Kernel bool     // Input.Boot
	Code   bool     // Input.Code
	Initrd bool     // Input.Initrd
	Joined bool     // Input.Joined, if it is there
	Root   bool     // Input.Root
	Disks  []string // Input.Disks
}

// String names them for people.
func (n Needs) String() string {
	var out []string
	add := func(needed bool, what string) {
		if needed {
			out = append(out, what)
		}
	}
	add(n.Kernel, "kernel")
	add(n.Initrd, "initrd")
	for _, kind := range n.Disks {
		add(kind == asManifest, "root")
		add(kind != asManifest, kind)
	}
	add(n.Root, "files")
	add(n.Code, "boot code")
	return strings.Join(out, ", ")
}

// Roots are the types of root file systems that a manifest can ask for, the
// default first: in memory, unpacked from the initrd, or on the disk that a
// format has.
var Roots = []string{"initramfs", rootSquashfs, rootErofs}

// NeedsOf is what any of list needs, for a manifest that asks for the type of
// root; "" is the default.
func NeedsOf(list []Format, root string) Needs {
	var n Needs
	for _, f := range list {
		n.Kernel, n.Code, n.Root = n.Kernel || f.Kernel, n.Code || f.Code, n.Root || f.Root
		for _, kind := range f.Disks {
			if kind == asManifest {
				kind = DiskOf(root)
			}
			if kind == "" {
				n.Initrd = true
			} else if !slices.Contains(n.Disks, kind) {
				n.Disks = append(n.Disks, kind)
			}
		}
		n.Initrd, n.Joined = n.Initrd || f.Initrd, n.Joined || f.Joined
	}
	slices.Sort(n.Disks)
	return n
}

// DiskOf is [Input].Disk for a manifest that asks for the type of root.
func DiskOf(root string) string {
	if root == Roots[0] {
		return ""
	}
	return root
}

// Input is what a format is made from.
type Input struct {
	Base   string               // base name of the files
	Boot   tree.Tree            // boot/kernel, boot/cmdline and, if there is microcode, boot/ucode.cpio; nil without a kernel
	Code   tree.Tree            // boot code, below efi and grub; nil unless the format needs it
	Root   tree.Tree            // the whole root file system, boot included; nil unless the format needs it
	Initrd []Blob               // compressed cpio archives, each a multiple of 4 bytes; concatenated they are the root file system without boot
	Joined string               // name of a file with all of Initrd, which may be moved to where it is needed; "" if there is none
	Disks  map[string]*RootDisk // root file systems for disks, by their type
	Disk   string               // type of the root that disks have; "" if that is in Initrd
	Arch   string               // GOARCH
	Size   int64                // least size of a disk, in bytes; 0 is as large as its content
	Epoch  int64                // seconds since 1970; the time of every file and volume
	Old    *os.Root             // what an earlier build wrote, of which files that are right are linked; nil if there is none
}

// Blob is a sequence of bytes that can be read again and again.
type Blob struct {
	Size int64
	Open func() (io.ReadCloser, error)
}

// Default is the format that is made when none is asked for.
const Default = "kernel+initrd"

// Lookup finds formats by a list of names, separated by commas; "" is [Default].
func Lookup(names string) ([]Format, error) {
	var out []Format
	for name := range strings.SplitSeq(cmp.Or(names, Default), ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(All, func(f Format) bool { return f.Name == name || slices.Contains(f.Aliases, name) })
		if i < 0 {
			return nil, fmt.Errorf("unknown format %q; there are: %s", name, strings.Join(Names(), ", "))
		}
		if !slices.ContainsFunc(out, func(f Format) bool { return f.Name == All[i].Name }) {
			out = append(out, All[i])
		}
	}
	writer := map[string]string{}
	for _, f := range out {
		for _, file := range f.Files("BASE") {
			if other := writer[file]; other != "" {
				return nil, fmt.Errorf("formats %s and %s are both written as %s: build them one after the other", other, f.Name, file)
			}
			writer[file] = f.Name
		}
	}
	return out, nil
}

// Names are the names of all formats.
func Names() []string {
	out := make([]string, len(All))
	for i, f := range All {
		out[i] = f.Name
	}
	return out
}

// Check tells whether f can be made for arch, with or without a kernel.
func (f *Format) Check(arch string, kernel bool) error {
	if f.Arches != nil && !slices.Contains(f.Arches, arch) {
		return fmt.Errorf("format %s is not made for %s, only for %s", f.Name, arch, strings.Join(f.Arches, ", "))
	}
	if f.Kernel && !kernel {
		return fmt.Errorf("format %s needs a kernel, and the manifest has none", f.Name)
	}
	return nil
}

// ParseSize reads a size of a disk: bytes, or with K, M, G or T, which count by
// 1,024.
func ParseSize(s string) (int64, error) {
	number, shift := s, 0
	if i := strings.IndexAny("KMGT", s[max(0, len(s)-1):]); s != "" && i >= 0 {
		number, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is not a size; write 512M or 4G", s)
	}
	return n << shift, nil
}

// create writes one file of out with what write gives.
func create(out *os.Root, name string, write func(w *os.File) error) error {
	f, err := out.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("creating %s: %w", name, err)
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// save writes one file of out, holes as holes. If in.Old has it as it should be, it
// is linked.
func (in *Input) save(out *os.Root, name string, f *sparse.File) error {
	if in.Old != nil {
		kept, err := keep(in.Old, out, name, f)
		if kept || err != nil {
			return err
		}
	}
	return create(out, name, f.Save)
}

// keep makes one file of out a link to that of old, if this has the bytes of f.
func keep(old, out *os.Root, name string, f *sparse.File) (bool, error) {
	info, err := old.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	have, err := old.Open(name)
	if err != nil {
		return false, nil
	}
	defer have.Close()
	same, err := f.Same(have, info.Size())
	if err != nil {
		return false, fmt.Errorf("writing %s: %w", name, err)
	}
	// Some file systems have no links. Then it is written again.
	return same && os.Link(filepath.Join(old.Name(), name), filepath.Join(out.Name(), name)) == nil, nil
}
