package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Loader loads modules, each once, from any number of goroutines.
type Loader struct {
	index  *Index
	insert func(file, parameters string) error
	loaded atomic.Int64

	devices sync.Map // modaliases that Device has been given

	mu    sync.Mutex
	files map[string]func() error // by file: loads it once, then gives the outcome
}

// NewLoader is a loader of the modules of x.
func NewLoader(x *Index) *Loader {
	return &Loader{index: x, insert: insert, files: map[string]func() error{}}
}

// Loaded is the number of modules loaded so far.
func (l *Loader) Loaded() int { return int(l.loaded.Load()) }

// Load loads what name means: a module, or all with an alias that matches, and
// what these need. That nothing matches is no error: the kernel may have it
// built in, or no device of the kind.
func (l *Loader) Load(name string) error {
	var errs []error
	for _, m := range l.index.Find(name) {
		if m != normal(name) && l.index.blacklisted(m) {
			continue
		}
		for _, file := range l.index.order(m) {
			if err := l.once(file)(); err != nil {
				errs = append(errs, fmt.Errorf("loading module %s: %w", moduleName(file), err))
			}
		}
	}
	return errors.Join(errs...)
}

// Device loads the modules for a device that has this modalias. It does so once
// for each: devices of a kind have the same.
func (l *Loader) Device(modalias string) error {
	if _, known := l.devices.LoadOrStore(modalias, true); known {
		return nil
	}
	return l.Load(modalias)
}

// once is the function that loads file when it is first called, and that all
// callers wait for.
func (l *Loader) once(file string) func() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[file]
	if f == nil {
		f = sync.OnceValue(func() error {
			err := l.insert(filepath.Join(l.index.dir, file), l.index.parameters(moduleName(file)))
			if err == nil {
				l.loaded.Add(1)
			}
			return settled(err)
		})
		l.files[file] = f
	}
	return f
}

// settled takes away the errors that are none: the module is there already, or
// it found no device that it is for.
func settled(err error) error {
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// compressedFile is MODULE_INIT_COMPRESSED_FILE of finit_module(2).
const compressedFile = 4

// insert gives a module's file to the kernel, which decompresses it if need be.
func insert(name, parameters string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(name, ".ko") {
		flags = compressedFile
	}
	return unix.FinitModule(int(f.Fd()), parameters, flags)
}
