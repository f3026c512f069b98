package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// xattrDir holds the extended attributes of the files of an initramfs, which a
// cpio archive cannot: in each xattrs-*.json a list of files.
const xattrDir = "/.lkx"

type xattrFile struct {
	Path   string            `json:"path"`   // relative to the root
	Xattrs map[string][]byte `json:"xattrs"` // values in base64
}

// Xattrs gives the files of the root file system their extended attributes, and
// removes the lists. The root file system can be written.
func Xattrs() error { return applyXattrs("/", xattrDir) }

func applyXattrs(root, dir string) error {
	lists, err := filepath.Glob(filepath.Join(dir, "xattrs-*.json"))
	if err != nil {
		return fmt.Errorf("looking for extended attributes: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return fmt.Errorf("looking at the root file system: %w", err)
	}
	if len(lists) > 0 && fs.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("the extended attributes in %s are not set: this root file system can only be read and must have them itself", dir)
	}
	var errs []error
	for _, name := range lists {
		var files []xattrFile
		text, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, &files)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading extended attributes: %s: %w", name, err))
			continue
		}
		for _, f := range files {
			for attr, value := range f.Xattrs {
				if err := unix.Lsetxattr(filepath.Join(root, f.Path), attr, value, 0); err != nil {
					errs = append(errs, fmt.Errorf("setting extended attribute %s of /%s: %w", attr, f.Path, err))
				}
			}
		}
		errs = append(errs, os.Remove(name))
	}
	return errors.Join(errs...)
}
