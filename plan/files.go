package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/lkx-os/lkx/manifest"
)

// Modes of files and directories that do not give one.
const (
	defaultFileMode = 0o600
	defaultDirMode  = 0o700
)

// addFiles places the manifest's own files, over all images.
func (b *builder) addFiles(ctx context.Context) error {
	if len(b.m.Files) == 0 {
		return nil
	}
	s := b.step("files", "files", FilesSource)
	for i := range b.m.Files {
		at, in := fmt.Sprintf("files[%d]", i), &b.m.Files[i]
		f, ok := b.file(at, in)
		if !ok {
			continue
		}
		f.Location, f.Pos = at, b.m.PosOf(at+".source")
		if in.IsURL() {
			f.Blob = &Blob{Digest: in.Checksum, URL: in.Source}
		} else if in.Source != "" {
			found, err := b.sourced(ctx, at, in, &f)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
		}
		s.Files = append(s.Files, f)
		for d := path.Dir(f.Path); d != "."; d = path.Dir(d) {
			b.parent(File{Path: d, Mode: typeDir | searchable(parentMode(f)), UID: f.UID, GID: f.GID})
		}
	}
	b.steps = append(b.steps, s)
	return nil
}

// file is entry in, its contents aside where they are in the build context.
func (b *builder) file(at string, in *manifest.File) (File, bool) {
	perm := uint32(defaultFileMode)
	if in.Directory {
		perm = defaultDirMode
	}
	if in.Mode != nil {
		perm = uint32(*in.Mode)
	}
	f := File{Path: clean(in.Path), Mode: typeRegular | perm}
	switch {
	case in.Directory:
		f.Mode = typeDir | perm
	case in.Symlink != "":
		f.Mode, f.Link = typeSymlink|0o777, in.Symlink
	case in.Contents != nil:
		f.Contents = *in.Contents
	case in.Metadata != "":
		text, err := b.m.Metadata(in.Metadata)
		if err != nil {
			b.fault(at+".metadata", err)
			return File{}, false
		}
		f.Contents = text
	}
	return f, b.own(&f, at, in.UID, in.GID)
}

// own gives f its owners, and tells whether there are such; at is where the
// manifest names them.
func (b *builder) own(f *File, at string, uid, gid *manifest.ID) bool {
	var err error
	if f.UID, err = b.sys.IDs.Resolve(uid, "uid"); err != nil {
		b.fault(at, err)
		return false
	}
	if f.GID, err = b.sys.IDs.Resolve(gid, "gid"); err != nil {
		b.fault(at, err)
		return false
	}
	return true
}

// sourced tells whether the build context has the source of entry in, and
// points f at it; a fault is noted when it must and has not.
func (b *builder) sourced(ctx context.Context, at string, in *manifest.File, f *File) (bool, error) {
	typ, err := b.files.Stat(ctx, in.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist) && in.Optional:
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		e := b.m.ErrorAt(at+".source", fmt.Sprintf("there is no file %q", in.Source))
		e.Hint = "the path is relative to the manifest; in a BuildKit build, to the build context"
		b.errs = append(b.errs, e)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for %s: %w", in.Source, err)
	case typ.IsDir():
		f.Deep = &Deep{OwnModes: in.Mode == nil, FileMode: f.Mode & 0o7777}
		f.Mode = typeDir | searchable(f.Mode)
		if f.Deep.OwnModes {
			f.Mode, f.Deep.FileMode = typeDir, 0
		}
	case !typ.IsRegular():
		b.errs = append(b.errs, b.m.ErrorAt(at+".source", fmt.Sprintf("%q is neither a file nor a directory", in.Source)))
		return false, nil
	}
	f.Source = in.Source
	return true, nil
}

// parentMode is the mode that decides on the directories above f; that of a
// directory whose own is not known yet is the usual one.
func parentMode(f File) uint32 {
	if f.Deep != nil && f.Deep.OwnModes {
		return 0o755
	}
	return f.Mode
}

// searchable is the mode of a directory made for a file of this mode: whoever
// may do anything with the file may search the directory.
func searchable(mode uint32) uint32 {
	perm := mode & 0o777
	if mode&^0o7777 == typeSymlink {
		perm = 0o755
	}
	for _, class := range []uint32{0o700, 0o070, 0o007} {
		if perm&class != 0 {
			perm |= class & 0o111
		}
	}
	return perm
}
