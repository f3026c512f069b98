package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// staged ends the name of a file that is not yet whole.
const staged = ".metadata-new"

// write writes all files beside their places, and then moves them there: none
// is there in part, and none at all if they cannot all be written.
func (c *config) write() (err error) {
	names := slices.Sorted(maps.Keys(c.files))
	defer func() {
		if err != nil {
			for _, name := range names {
				os.Remove(name + staged)
			}
		}
	}()
	for _, name := range names {
		if err := c.files[name].stage(name); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	for _, name := range names {
		if err := os.Rename(name+staged, name); err != nil {
			return err
		}
	}
	if c.host == "" {
		return nil
	}
	if err := unix.Sethostname([]byte(c.host)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	return nil
}

func (f file) stage(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return errors.New("this is a directory")
	}
	text := f.text
	if f.append {
		before, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		text = append(before, text...)
	}
	if err := os.WriteFile(name+staged, text, f.mode); err != nil {
		return err
	}
	return os.Chmod(name+staged, f.mode)
}
