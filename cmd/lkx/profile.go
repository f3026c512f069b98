package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"runtime/trace"
)

// profiled runs do, and writes how that went into files of dir, for "go tool
// pprof" and "go tool trace". With "" it only runs it.
func profiled(dir string, do func() error) error {
	if dir == "" {
		return do()
	}
	stop, err := profile(dir)
	if err != nil {
		return fmt.Errorf("writing the profile: %w", err)
	}
	err = do()
	if failed := stop(); failed != nil {
		err = errors.Join(err, fmt.Errorf("writing the profile: %w", failed))
	}
	return err
}

// profile begins the profiles, which are whole after stop.
func profile(dir string) (stop func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var files []io.Closer
	closed := func() (err error) {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	for name, start := range map[string]func(io.Writer) error{"cpu.pprof": pprof.StartCPUProfile, "trace.out": trace.Start} {
		f, err := root.Create(name)
		if err == nil {
			files = append(files, f)
			err = start(f)
		}
		if err != nil {
			return nil, errors.Join(err, closed())
		}
	}
	return func() error {
		pprof.StopCPUProfile()
		trace.Stop()
		f, err := os.Create(filepath.Join(dir, "heap.pprof"))
		if err != nil {
			return errors.Join(err, closed())
		}
		return errors.Join(pprof.WriteHeapProfile(f), f.Close(), closed())
	}, nil
}
