// Command sysctl sets the kernel's parameters from /etc/sysctl.d/*.conf, as
// sysctl.d(5) has them.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	n, err := apply("/etc/sysctl.d", "/proc/sys")
	if err != nil {
		fmt.Fprintln(os.Stderr, "sysctl:", err)
		os.Exit(1)
	}
	fmt.Printf("sysctl: %d parameters set\n", n)
}

// apply sets what the files in dir say, in the order of their names, and says
// how many parameters it set. All that cannot be set is in the error.
func apply(dir, proc string) (int, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("no *.conf in %s", dir)
	}
	n := 0
	var errs []error
	for _, name := range files {
		settings, err := read(name)
		errs = append(errs, err)
		for _, s := range settings {
			set, err := s.apply(proc)
			n += set
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// setting is a line of a file.
type setting struct {
	where      string // "name:line"
	key, value string
	optional   bool // that it cannot be set is no error
}

func read(name string) ([]setting, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []setting
	s := bufio.NewScanner(f)
	for line := 1; s.Scan(); line++ {
		text := strings.TrimSpace(s.Text())
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		where := fmt.Sprintf("%s:%d", name, line)
		rest, optional := strings.CutPrefix(text, "-")
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			return out, fmt.Errorf("%s: %q is not KEY = VALUE", where, text)
		}
		out = append(out, setting{where, path(strings.TrimSpace(key)), strings.TrimSpace(value), optional})
	}
	return out, s.Err()
}

// path is a key's below /proc/sys. If its first separator is a dot then dots
// separate, and slashes stand for dots: net.ipv4.conf.eth0/5.forwarding.
func path(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '/' {
		return key
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(key)
}

// apply sets the parameter, or all that a pattern such as net/ipv4/conf/*/x
// matches, and says how many.
func (s setting) apply(proc string) (int, error) {
	root := filepath.Clean(proc) + "/"
	names := []string{filepath.Join(proc, s.key)}
	if strings.ContainsAny(s.key, "*?[") {
		var err error
		if names, err = filepath.Glob(names[0]); err != nil {
			return 0, fmt.Errorf("%s: %s: %w", s.where, s.key, err)
		}
	}
	n := 0
	for _, name := range names {
		if !strings.HasPrefix(name, root) {
			return n, fmt.Errorf("%s: %s is not in %s", s.where, s.key, proc)
		}
		err := set(name, s.value)
		switch {
		case err == nil:
			n++
		case s.optional:
		case errors.Is(err, fs.ErrNotExist):
			return n, fmt.Errorf("%s: the kernel has no %s", s.where, s.key)
		default:
			return n, fmt.Errorf("%s: setting %s to %q: %w", s.where, s.key, s.value, err)
		}
	}
	return n, nil
}

func set(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}
