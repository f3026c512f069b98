package formats

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/lkx-os/lkx/exporters/erofs"
	"github.com/lkx-os/lkx/exporters/iso9660"
	"github.com/lkx-os/lkx/exporters/squashfs"
	"github.com/lkx-os/lkx/internal/sparse"
	"github.com/lkx-os/lkx/tree"
)

// Types of root file systems on disks, as mount(8) has them.
const (
	rootSquashfs = "squashfs"
	rootErofs    = "erofs"
	rootISO      = "iso9660"
)

// asManifest stands in [Needs] for the type that the manifest asks for.
const asManifest = "*"

// RootDisk is a root file system for a disk, with the initrd that finds it.
type RootDisk struct {
	Image  Blob
	Initrd Blob   // a compressed cpio archive, a multiple of 4 bytes
	Which  string // what the initrd's init knows the root by: "UUID=…", "LABEL=…"; "" if it cannot find any
}

// RootOptions are what [WriteRoot] makes a root file system of beside its tree.
type RootOptions struct {
	Kind        string // its type
	Compression string // of the initrd; "" is the default
	Epoch       int64  // seconds since 1970, the time of every file
	Blocks      Blocks // compressed blocks of other root file systems; may be nil
}

// Blocks keeps compressed blocks.
type Blocks = squashfs.Blocks

// WriteRoot makes a root file system of t, and writes it into the empty file w
// with the initrd that finds it, for [ReadRoot]. boot/ is left out.
func WriteRoot(w *os.File, t tree.Tree, o RootOptions) error {
	root, small, err := split(t)
	if err != nil {
		return err
	}
	which, err := writeRoot(w, root, o)
	if err != nil {
		return err
	}
	if small == nil {
		which, small = "", (&tree.Builder{}).Tree()
	}
	size, err := w.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(w)
	counted := &counter{w: buf}
	if err := Segment(counted, "root", small, o.Compression, o.Epoch); err != nil {
		return err
	}
	end := rootEnd{Image: size, Initrd: counted.n}
	copy(end.Which[:], which)
	if err := binary.Write(buf, binary.LittleEndian, end); err != nil {
		return err
	}
	return buf.Flush()
}

// rootEnd is the end of a file that WriteRoot wrote: what stands before it.
type rootEnd struct {
	Image, Initrd int64 // bytes
	Which         [64]byte
}

// ReadRoot finds what [WriteRoot] wrote: the first size bytes of the file name.
func ReadRoot(name string, size int64) (*RootDisk, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var end rootEnd
	length := int64(binary.Size(end))
	if err := binary.Read(io.NewSectionReader(f, size-length, length), binary.LittleEndian, &end); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if end.Image < 0 || end.Initrd < 0 || end.Image+end.Initrd+length != size {
		return nil, fmt.Errorf("reading %s: it holds no root file system of lkx", name)
	}
	image, initrd := FilePart(name, 0, end.Image), FilePart(name, end.Image, end.Initrd)
	return &RootDisk{image, initrd, string(bytes.TrimRight(end.Which[:], "\x00"))}, nil
}

// FileBlob is a file that stays as it is.
func FileBlob(name string) (Blob, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Blob{}, err
	}
	return FilePart(name, 0, info.Size()), nil
}

// FilePart is the size bytes at off of a file that stays as it is.
func FilePart(name string, off, size int64) Blob {
	return Blob{size, func() (io.ReadCloser, error) { return sparse.OpenPart(name, off, size) }}
}

// writeRoot writes a file system and tells what it is known by.
func writeRoot(w *os.File, t tree.Tree, o RootOptions) (which string, err error) {
	var uuid func(io.ReaderAt) (string, error)
	switch o.Kind {
	case rootSquashfs:
		uuid = squashfs.UUID
		err = squashfs.Write(w, t, squashfs.Options{Epoch: o.Epoch, Blocks: o.Blocks})
	case rootErofs:
		uuid = erofs.UUID
		err = erofs.Write(w, t, erofs.Options{Epoch: o.Epoch})
	case rootISO:
		return writeISO(w, t, o.Epoch)
	default:
		err = fmt.Errorf("there are no root file systems of type %q", o.Kind)
	}
	if err != nil {
		return "", err
	}
	id, err := uuid(w)
	return "UUID=" + id, err
}

// writeISO writes an ISO 9660 volume whose label comes from its contents. They
// are read twice.
func writeISO(w *os.File, t tree.Tree, epoch int64) (which string, err error) {
	o := iso9660.Options{Label: "LKX", Epoch: epoch}
	v, err := iso9660.New(t, o)
	if err != nil {
		return "", fmt.Errorf("%w; a squashfs or an erofs can hold it", err)
	}
	r, err := v.Image.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	o.Label = "LKX_" + strings.ToUpper(hex.EncodeToString(h.Sum(nil)[:12]))
	if v, err = iso9660.New(t, o); err != nil {
		return "", err
	}
	return "LABEL=" + o.Label, v.Image.Save(w)
}

// mountPoints are what a root file system must have, for nobody can make them.
var mountPoints = map[string]uint32{"dev": 0o755, "proc": 0o755, "sys": 0o755, "run": 0o755, "tmp": 0o1777, "var": 0o755}

// Where lkx's init and its kernels have what a small initrd is made of.
const (
	initPath    = "init"
	servicesBin = "usr/bin/lkx-services" // an init that has this one finds roots on disks
	initrdList  = "lkx-initrd.list"      // in lib/modules/VERSION: files of this directory, a line each
	modulesDir  = "lib/modules"
)

// split parts a system into what is on its disk and the small initrd that finds
// that, which is nil where the init is not one that could.
func split(t tree.Tree) (root, small tree.Tree, err error) {
	entries := map[string]tree.Entry{}
	var lists []string
	for e, err := range t.All() {
		if err != nil {
			return nil, nil, err
		}
		entries[e.Path] = e
		if path.Base(e.Path) == initrdList && path.Dir(path.Dir(e.Path)) == modulesDir {
			lists = append(lists, e.Path)
		}
	}
	var r, s tree.Builder
	if err := r.Add("", t, inBoot); err != nil {
		return nil, nil, err
	}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "var"} {
		e := tree.Entry{Path: dir, Mode: tree.TypeDir | mountPoints[dir]}
		if _, ok := entries[dir]; !ok {
			if err := r.Put(e, nil); err != nil {
				return nil, nil, err
			}
		}
	}
	if _, ok := entries[servicesBin]; !ok || !isFile(entries, initPath) {
		return r.Tree(), nil, nil
	}
	names := []string{initPath}
	for _, list := range lists {
		more, err := listed(t, list)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, more...)
	}
	for _, dir := range []string{"dev", "proc", "sys"} {
		if err := s.Put(tree.Entry{Path: dir, Mode: tree.TypeDir | mountPoints[dir]}, nil); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range names {
		e := entries[name]
		if !isFile(entries, name) {
			return nil, nil, fmt.Errorf("the small initrd wants the file %s, and there is none", name)
		}
		e.Hard, e.Xattrs = 0, nil
		if err := s.Put(e, func() (io.ReadCloser, error) { return t.Open(name) }); err != nil {
			return nil, nil, err
		}
	}
	return r.Tree(), s.Tree(), nil
}

// isFile tells whether there is a regular file of that name.
func isFile(entries map[string]tree.Entry, name string) bool {
	e, ok := entries[name]
	return ok && e.Type() == tree.TypeRegular
}

// listed are the files of a list, as paths in t.
func listed(t tree.Tree, list string) ([]string, error) {
	f, err := t.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			out = append(out, path.Join(path.Dir(list), name))
		}
	}
	return out, lines.Err()
}

// errOtherInit says why a disk cannot be made.
var errOtherInit = errors.New("this system's init does not look for a root on a disk: lkx's does (root: initramfs works with any)")

// file is b as a file.
func (b Blob) file() *sparse.File {
	f := &sparse.File{}
	f.PutSource(0, b.Size, b.Open)
	return f
}
