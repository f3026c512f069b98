package kmod

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// parallel is how many modules are initialised at a time: more than there are
// processors, as many wait for their devices.
const parallel = 8

// Coldplug loads the modules for all devices in sys, which is /sys, and for
// those that come to light thereby, until there are no new ones. Those for the
// processor are left to [Loader.Processor]: they only make faster what works
// without them, and take long, for they test themselves.
func (l *Loader) Coldplug(sys string) error {
	var mu sync.Mutex
	var errs []error
	seen := map[string]bool{}
	slots := make(chan struct{}, parallel)
	for {
		before := len(seen)
		var wg sync.WaitGroup
		for modalias := range modaliases(sys) {
			if seen[modalias] || isProcessor(modalias) {
				continue
			}
			seen[modalias] = true
			wg.Go(func() {
				slots <- struct{}{}
				err := l.Device(modalias)
				<-slots
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
		wg.Wait()
		if len(seen) == before {
			return errors.Join(errs...)
		}
	}
}

// Processor loads the modules for the processor's features. The kernel asks for
// those by itself that something is about to use.
func (l *Loader) Processor(sys string) error {
	var errs []error
	for modalias := range modaliases(sys) {
		if isProcessor(modalias) {
			errs = append(errs, l.Device(modalias))
		}
	}
	return errors.Join(errs...)
}

func isProcessor(modalias string) bool { return strings.HasPrefix(modalias, "cpu:") }

// modaliases are those of all devices. Each is of a bus or of a class; only the
// processors have theirs in common. A device may go while it is looked at.
func modaliases(sys string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, pattern := range []string{"bus/*/devices/*/modalias", "class/*/*/modalias", "devices/system/*/modalias"} {
			names, _ := filepath.Glob(filepath.Join(sys, pattern)) // the patterns are right
			for _, name := range names {
				text, err := os.ReadFile(name)
				if m := strings.TrimSpace(string(text)); err == nil && m != "" && !yield(m) {
					return
				}
			}
		}
	}
}

// LoadListed loads the modules named in the files of dir, one a line, as
// modules-load.d(5) has it.
func (l *Loader) LoadListed(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	if err != nil {
		return fmt.Errorf("looking for lists of modules: %w", err)
	}
	var errs []error
	for _, f := range files {
		err := eachLine(f, func(line string) {
			if line[0] == ';' {
				return
			}
			errs = append(errs, l.Load(line))
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// StaticNodes makes in dev the device nodes of modules.devname, the opening of
// which loads their module.
func (x *Index) StaticNodes(dev string) error {
	var errs []error
	err := eachLine(filepath.Join(x.dir, "modules.devname"), func(line string) {
		if name, mode, number, ok := parseDevname(line); ok {
			errs = append(errs, makeNode(filepath.Join(dev, name), mode, number))
		}
	})
	return errors.Join(append(errs, err)...)
}

func makeNode(name string, mode uint32, number uint64) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("making a device's directory: %w", err)
	}
	if err := unix.Mknod(name, mode, int(number)); err != nil && err != unix.EEXIST {
		return fmt.Errorf("making device %s: %w", name, err)
	}
	return nil
}

// parseDevname reads "MODULE NAME cMAJOR:MINOR".
func parseDevname(line string) (name string, mode uint32, number uint64, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 || f[2] == "" {
		return "", 0, 0, false
	}
	switch f[2][0] {
	case 'c':
		mode = unix.S_IFCHR | 0o600
	case 'b':
		mode = unix.S_IFBLK | 0o600
	default:
		return "", 0, 0, false
	}
	major, minor, _ := strings.Cut(f[2][1:], ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	return f[1], mode, unix.Mkdev(uint32(ma), uint32(mi)), err1 == nil && err2 == nil
}
