// Package kmod loads kernel modules: by name, by alias, and for every device
// that is there, as depmod(8)'s tables say. Modules need no program in user
// space to be loaded.
package kmod

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

// Index is what depmod(8) wrote about the modules of one kernel. Names are
// normal: with "_" for "-".
type Index struct {
	dir     string              // /lib/modules/RELEASE
	aliases []alias             // modules.alias
	files   map[string][]string // modules.dep: a module's file, then those it needs, the most needed last
	before  map[string][]string // modules.softdep: to be loaded before, where they exist
	after   map[string][]string
	args    cmdline.Args
}

type alias struct{ pattern, module string }

// Open reads the tables for the running kernel below /lib/modules. A kernel
// without modules has an empty index. args gives the modules' parameters
// ("module.parameter=value") and those not to load ("modprobe.blacklist=a,b").
func Open(args cmdline.Args) (*Index, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("asking for the kernel's release: %w", err)
	}
	return open(filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:])), args)
}

func open(dir string, args cmdline.Args) (*Index, error) {
	x := &Index{dir: dir, files: map[string][]string{}, before: map[string][]string{}, after: map[string][]string{}, args: args}
	for name, read := range map[string]func(string){
		"modules.alias": x.readAlias, "modules.dep": x.readDep, "modules.softdep": x.readSoftdep,
	} {
		if err := eachLine(filepath.Join(dir, name), read); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// Prune forgets the modules whose files are not there: a small initrd has some
// of the system's modules, and the tables of all.
func (x *Index) Prune() {
	maps.DeleteFunc(x.files, func(_ string, files []string) bool {
		_, err := os.Stat(filepath.Join(x.dir, files[0]))
		return err != nil
	})
}

// eachLine calls read with each line of a file that is no comment.
func eachLine(name string, read func(line string)) error {
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the kernel's modules: %w", err)
	}
	defer f.Close()
	if err := lines(f, read); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

func lines(r io.Reader, read func(line string)) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20) // a dm- or crypto- dependency line can be long
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			read(line)
		}
	}
	return s.Err()
}

// readAlias reads "alias PATTERN MODULE".
func (x *Index) readAlias(line string) {
	if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
		x.aliases = append(x.aliases, alias{normal(f[1]), normal(f[2])})
	}
}

// readDep reads "kernel/a.ko: kernel/b.ko kernel/c.ko", all that a needs.
func (x *Index) readDep(line string) {
	file, needs, ok := strings.Cut(line, ":")
	if ok {
		x.files[moduleName(file)] = append([]string{file}, strings.Fields(needs)...)
	}
}

// readSoftdep reads "softdep MODULE pre: A B post: C".
func (x *Index) readSoftdep(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	var list map[string][]string
	for _, word := range f[2:] {
		switch word {
		case "pre:":
			list = x.before
		case "post:":
			list = x.after
		default:
			if list != nil {
				list[normal(f[1])] = append(list[normal(f[1])], normal(word))
			}
		}
	}
}

// moduleName is the name of the module in a file: "kernel/fs/nls/nls-utf8.ko.xz"
// holds nls_utf8.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return normal(name)
}

// Find is the names of the modules that name means: the module of that name,
// or those with an alias that matches it. None for what is built in or unknown.
func (x *Index) Find(name string) []string {
	name = normal(name)
	if _, ok := x.files[name]; ok {
		return []string{name}
	}
	var out []string
	for _, a := range x.aliases {
		if match(a.pattern, name) && !slices.Contains(out, a.module) {
			out = append(out, a.module)
		}
	}
	return out
}

// order is the files to load for a module, the first first, each once: its soft
// dependencies, what it needs, itself, and its soft dependencies afterwards.
func (x *Index) order(module string) []string {
	var out []string
	seen := map[string]bool{}
	var visit func(string)
	visit = func(m string) {
		if seen[m] {
			return
		}
		seen[m] = true
		files := x.files[m]
		for _, soft := range x.before[m] {
			for _, s := range x.Find(soft) {
				visit(s)
			}
		}
		for _, file := range slices.Backward(files) {
			if n := moduleName(file); n != m {
				visit(n)
			} else if !slices.Contains(out, file) {
				out = append(out, file)
			}
		}
		for _, soft := range x.after[m] {
			for _, s := range x.Find(soft) {
				visit(s)
			}
		}
	}
	visit(module)
	return out
}

// parameters are what the command line sets for a module, as finit_module(2)
// reads them.
func (x *Index) parameters(module string) string {
	var out []string
	for _, a := range x.args {
		m, name, ok := strings.Cut(a.Name, ".")
		if !ok || !cmdline.Same(m, module) {
			continue
		}
		if a.Value != "" {
			name += "=" + a.Value
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// blacklisted tells whether the command line forbids to load a module by alias.
func (x *Index) blacklisted(module string) bool {
	for m := range strings.SplitSeq(x.args.Get("modprobe.blacklist"), ",") {
		if cmdline.Same(m, module) {
			return true
		}
	}
	return false
}
