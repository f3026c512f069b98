package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/disk"
)

// condition is one that swap depends on, as LinuxKit's swap has them.
type condition struct {
	path     string
	size     int64 // of the file system, in bytes; 0: path is a mount point
	required bool
}

func parseCondition(text string) (c condition, err error) {
	f := strings.Split(text, ":")
	if last := f[len(f)-1]; last == "true" || last == "false" {
		c.required, f = last == "true", f[:len(f)-1]
	}
	switch {
	case len(f) == 2 && f[0] == "part":
	case len(f) == 3 && f[0] == "partsize":
		if c.size, err = disk.ParseSize(f[2]); err != nil {
			return c, err
		}
	default:
		return c, fmt.Errorf("%q is neither part:PATH nor partsize:PATH:SIZE", text)
	}
	c.path = f[1]
	return c, nil
}

// met is nil, or says what the condition wants.
func (c condition) met() error {
	if c.size > 0 {
		var fs unix.Statfs_t
		if err := unix.Statfs(c.path, &fs); err != nil {
			return fmt.Errorf("%s: %w", c.path, err)
		}
		if has := int64(fs.Blocks) * fs.Bsize; has < c.size {
			return fmt.Errorf("the file system at %s has %s, not %s", c.path, disk.Bytes(has), disk.Bytes(c.size))
		}
		return nil
	}
	var here, above unix.Stat_t
	for path, to := range map[string]*unix.Stat_t{c.path: &here, filepath.Dir(c.path): &above} {
		if err := unix.Stat(path, to); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if here.Dev == above.Dev {
		return fmt.Errorf("nothing is mounted at %s", c.path)
	}
	return nil
}
