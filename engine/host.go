package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/lkx-os/lkx/internal/source"
)

// hostFiles are the files of this machine that a manifest names: relative to a
// directory, absolute, or below the home directory ("~/"). It is an [fs.FS],
// except that any path is valid.
type hostFiles struct{ dir string }

func (h hostFiles) resolve(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the home directory for %s: %w", name, err)
		}
		return filepath.Join(home, rest), nil
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	return filepath.Join(h.dir, name), nil
}

// Open implements [fs.FS].
func (h hostFiles) Open(name string) (fs.File, error) {
	p, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	return os.Open(p)
}

// ReadLink implements [fs.ReadLinkFS].
func (h hostFiles) ReadLink(name string) (string, error) {
	p, err := h.resolve(name)
	if err != nil {
		return "", err
	}
	return os.Readlink(p)
}

// Lstat implements [fs.ReadLinkFS].
func (h hostFiles) Lstat(name string) (fs.FileInfo, error) {
	p, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	return os.Lstat(p)
}

// load reads a manifest that another includes.
func (h hostFiles) load(name string) (*source.File, error) {
	p, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %q", p)
	}
	if err != nil {
		return nil, err
	}
	dir := path.Dir(filepath.ToSlash(name))
	if dir == "." {
		dir = ""
	}
	return &source.File{Name: p, Dir: dir, Data: text}, nil
}

// hostContext is hostFiles as a plan asks for it.
type hostContext struct{ hostFiles }

// Stat implements [plan.Context].
func (h hostContext) Stat(_ context.Context, name string) (fs.FileMode, error) {
	p, err := h.resolve(name)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(p)
	if err != nil {
		return 0, err
	}
	return info.Mode().Type(), nil
}
