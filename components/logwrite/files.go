package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lkx-os/lkx/components/internal/logs"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// files is a file for each source, SOURCE.log, with older ones beside it.
type files struct {
	options
	open map[string]*logs.File
}

func newFiles(o options) (*files, error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the files: %w", err)
	}
	return &files{o, map[string]*logs.File{}}, nil
}

// write writes a line as LinuxKit's logwrite does: "TIME SOURCE MESSAGE".
func (f *files) write(_ context.Context, e memlog.Entry) error {
	name := strings.ReplaceAll(e.Source, "/", "_")
	file := f.open[name]
	if file == nil {
		var err error
		if file, err = logs.OpenFile(filepath.Join(f.dir, name+".log"), f.size, f.files-1); err != nil {
			return err
		}
		f.open[name] = file
	}
	_, err := fmt.Fprintf(file, "%s %s %s\n", e.Time.Format(time.RFC3339Nano), e.Source, e.Msg)
	return err
}

func (f *files) close() {
	for _, file := range f.open {
		file.Close()
	}
}
