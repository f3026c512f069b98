package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// modules is what can be loaded, from the text files that depmod(8) writes.
type modules struct {
	dir     string
	paths   map[string]string   // file of each module, below dir
	deps    map[string][]string // modules that each one needs
	pre     map[string][]string // modules to load before each one, if they are there
	aliases map[string][]alias  // by the bus, the part before the first colon; "" for names
	load    func(file string) error

	mu   sync.Mutex
	once map[string]func() error
}

// alias says that a module serves what a pattern matches (modules.alias).
type alias struct{ pattern, module string }

// readModules reads the tables of the running kernel's modules.
func readModules() (*modules, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	dir := "/lib/modules/" + unix.ByteSliceToString(u.Release[:])
	m := &modules{
		dir: dir, load: finit, once: map[string]func() error{}, paths: map[string]string{},
		deps: map[string][]string{}, pre: map[string][]string{}, aliases: map[string][]alias{},
	}
	err := errors.Join(
		lines(filepath.Join(dir, "modules.dep"), m.addDep),
		lines(filepath.Join(dir, "modules.alias"), m.addAlias),
		lines(filepath.Join(dir, "modules.softdep"), m.addSoftdep),
	)
	return m, err
}

func lines(name string, each func(string)) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without modules
	} else if err != nil {
		return err
	}
	s := bufio.NewScanner(bytes.NewReader(text))
	for s.Scan() {
		if !strings.HasPrefix(s.Text(), "#") {
			each(s.Text())
		}
	}
	return s.Err()
}

// name is a module's, from its file's: dashes and underscores are the same.
func name(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// addDep reads "kernel/a/b.ko: kernel/c/d.ko …".
func (m *modules) addDep(line string) {
	file, deps, ok := strings.Cut(line, ":")
	if !ok {
		return
	}
	m.paths[name(file)] = file
	for d := range strings.FieldsSeq(deps) {
		m.deps[name(file)] = append(m.deps[name(file)], name(d))
	}
}

// addAlias reads "alias pci:v00001AF4d* virtio_pci".
func (m *modules) addAlias(line string) {
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "alias" {
		return
	}
	m.aliases[bus(f[1])] = append(m.aliases[bus(f[1])], alias{f[1], f[2]})
}

// addSoftdep reads "softdep ext4 pre: crc32c post: x".
func (m *modules) addSoftdep(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	pre := false
	for _, word := range f[2:] {
		if strings.HasSuffix(word, ":") {
			pre = word == "pre:"
		} else if pre {
			m.pre[name(f[1])] = append(m.pre[name(f[1])], word)
		}
	}
}

// bus is what aliases are sorted by, so that few have to be looked at.
func bus(s string) string {
	b, _, ok := strings.Cut(s, ":")
	if !ok || strings.ContainsAny(b, "*?[") {
		return ""
	}
	return b
}

// find lists the modules that serve an alias, such as a device's modalias, or a
// module's name.
func (m *modules) find(s string) []string {
	var out []string
	if n := name(s); m.paths[n] != "" {
		out = append(out, n)
	}
	keys := []string{bus(s)}
	if keys[0] != "" {
		keys = append(keys, "")
	}
	for _, k := range keys {
		for _, a := range m.aliases[k] {
			if ok, _ := path.Match(a.pattern, s); ok {
				out = append(out, name(a.module))
			}
		}
	}
	return out
}

// insert loads a module after what it needs, once, however many ask for it.
func (m *modules) insert(mod string) error {
	m.mu.Lock()
	do := m.once[mod]
	if do == nil {
		do = sync.OnceValue(func() error { return m.insertNow(mod) })
		m.once[mod] = do
	}
	m.mu.Unlock()
	return do()
}

func (m *modules) insertNow(mod string) error {
	file := m.paths[mod]
	if file == "" {
		return nil // built in, or left out of the image
	}
	for _, p := range m.pre[mod] {
		for _, pre := range m.find(p) {
			if pre != mod {
				_ = m.insert(pre)
			}
		}
	}
	// modules.dep lists all that is needed, what is needed first standing last.
	for i := len(m.deps[mod]) - 1; i >= 0; i-- {
		if err := m.insert(m.deps[mod][i]); err != nil {
			return err
		}
	}
	if err := m.load(filepath.Join(m.dir, file)); err != nil {
		return fmt.Errorf("module %s: %w", mod, err)
	}
	return nil
}

func finit(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// coldplug loads the modules of all devices there are, and again while that
// brings new devices. No device is not an error, nor is a module that refuses.
func coldplug() error {
	m, err := readModules()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		fresh := modaliases(seen)
		if len(fresh) == 0 {
			return nil
		}
		work := make(chan string)
		var wg sync.WaitGroup
		for range 2 * runtime.NumCPU() {
			wg.Go(func() {
				for s := range work {
					for _, mod := range m.find(s) {
						_ = m.insert(mod)
					}
				}
			})
		}
		for _, s := range fresh {
			work <- s
		}
		close(work)
		wg.Wait()
	}
}

// modaliases lists what devices say they are, what was not seen before.
func modaliases(seen map[string]bool) []string {
	var out []string
	_ = filepath.WalkDir("/sys/devices", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "modalias" {
			return nil
		}
		text, err := os.ReadFile(p)
		if s := strings.TrimSpace(string(text)); err == nil && s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
		return nil
	})
	return out
}

// modprobe loads what the kernel asks for: "modprobe -q -- NAME". It returns
// the exit code.
func modprobe(args []string) int {
	if len(args) == 0 {
		return 1
	}
	m, err := readModules()
	if err != nil {
		return 1
	}
	found := m.find(args[len(args)-1])
	if len(found) == 0 {
		return 1
	}
	code := 0
	for _, mod := range found {
		if err := m.insert(mod); err != nil {
			code = 1
		}
	}
	return code
}
