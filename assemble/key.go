package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/lkx-os/lkx/plan"
)

// Key names the tree that [Step] makes, but for where its entries come from
// (their [tree.Origin]): equal keys give equal trees. It opens no image, and
// reads what the step places of the build context: times tell nothing. It is the
// hexadecimal form of a SHA-256.
func Key(s *plan.Step, files fs.FS) (string, error) {
	h := sha256.New()
	made := *s
	made.Title, made.Source = "", ""
	made.Copies = slices.Clone(s.Copies)
	for i := range made.Copies {
		c := &made.Copies[i]
		c.Image = plan.Image{Ref: c.Image.Chain()}
	}
	made.Files = slices.Clone(s.Files)
	for i := range made.Files {
		f := &made.Files[i]
		f.Location = ""
		if f.Blob != nil {
			f.Blob = &plan.Blob{Digest: f.Blob.Digest}
		}
	}
	if err := json.NewEncoder(h).Encode(made); err != nil {
		return "", err
	}
	for i := range s.Files {
		if f := &s.Files[i]; f.Source != "" {
			if err := addSource(h, f, files); err != nil {
				return "", &FileError{*f, fmt.Errorf("reading the source of %s: %w", f.Path, err)}
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addSource writes what f takes from the build context, each part with its size,
// so that no two contexts give the same.
func addSource(w io.Writer, f *plan.File, files fs.FS) error {
	if f.Deep == nil {
		return addFile(w, f.Source, files)
	}
	return fs.WalkDir(files, f.Source, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%q %v ", name, info.Mode().Type())
		if f.Deep.OwnModes {
			fmt.Fprintf(w, "%o ", permissions(info.Mode()))
		}
		switch {
		case info.Mode().Type() == fs.ModeSymlink && name != f.Source:
			link, err := fs.ReadLink(files, name)
			fmt.Fprintf(w, "%q\n", link)
			return err
		case info.Mode().IsRegular():
			return addFile(w, name, files)
		}
		_, err = fmt.Fprintln(w)
		return err
	})
}

// addFile writes the digest of the contents of a file.
func addFile(w io.Writer, name string, files fs.FS) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%x\n", h.Sum(nil))
	return err
}
