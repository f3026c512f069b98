// Package tarball writes a tree as a tar archive in the PAX format
// (POSIX.1-2017, pax, "pax Interchange Format"), extended attributes under
// "SCHILY.xattr." as container images have them. Where an entry came from stands
// in the records "LINUXKIT.source" and "LINUXKIT.location", as LinuxKit's tool
// writes them.
//
// It refuses sockets.
package tarball

import (
	"archive/tar"
	"fmt"
	"io"
	"time"

	"github.com/lkx-os/lkx/tree"
)

// Write writes t to w. Every file has the time mtime, in seconds since 1970;
// the second name of a file, and later ones, are hard links to its first.
func Write(w io.Writer, t tree.Tree, mtime int64) error {
	a := archive{tw: tar.NewWriter(w), mtime: time.Unix(mtime, 0).UTC(), first: map[int]string{}}
	for e, err := range t.All() {
		if err != nil {
			return err
		}
		if err := a.entry(e, t); err != nil {
			return fmt.Errorf("writing %s: %w", e.Path, err)
		}
	}
	if err := a.tw.Close(); err != nil {
		return fmt.Errorf("ending the archive: %w", err)
	}
	return nil
}

type archive struct {
	tw    *tar.Writer
	mtime time.Time
	first map[int]string // of each hard link group
}

func (a *archive) entry(e tree.Entry, t tree.Tree) error {
	h, err := a.header(e)
	if err != nil {
		return err
	}
	if err := a.tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return nil
	}
	f, err := t.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(a.tw, f)
	if err == nil && n < h.Size {
		err = fmt.Errorf("%d bytes of contents, expected %d: %w", n, h.Size, io.ErrUnexpectedEOF)
	}
	return err
}

func (a *archive) header(e tree.Entry) (*tar.Header, error) {
	h := &tar.Header{
		Name: e.Path, Mode: int64(e.Perm()), Uid: int(e.UID), Gid: int(e.GID),
		ModTime: a.mtime, Format: tar.FormatPAX,
	}
	record := func(name, value string) {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[name] = value
	}
	if e.Origin != nil {
		record("LINUXKIT.source", e.Origin.Source)
		record("LINUXKIT.location", e.Origin.Location)
	}
	if target := a.first[e.Hard]; e.Hard != 0 && target != "" {
		h.Typeflag, h.Linkname = tar.TypeLink, target
		return h, nil
	}
	if e.Hard != 0 {
		a.first[e.Hard] = e.Path
	}
	switch e.Type() {
	case tree.TypeRegular:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case tree.TypeDir:
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	case tree.TypeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	case tree.TypeChar, tree.TypeBlock:
		h.Typeflag = tar.TypeChar
		if e.Type() == tree.TypeBlock {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(tree.Major(e.Rdev)), int64(tree.Minor(e.Rdev))
	case tree.TypeFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, fmt.Errorf("a tar archive cannot hold a file of type %o", e.Type())
	}
	for name, value := range e.Xattrs {
		record("SCHILY.xattr."+name, value)
	}
	return h, nil
}
