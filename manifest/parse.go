package manifest

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// Options is what a manifest's meaning depends on besides its text.
type Options struct {
	// Args are the values of arguments, by name.
	Args map[string]string
	// Spare are values of arguments that the manifest need not have.
	Spare map[string]string
	// Known are names that mean something to the caller, for hints.
	Known []string
	// Platform is what is built for ("linux/arm64"); "" is every one: entries for
	// one architecture are then checked, and left out.
	Platform string
	// Load reads the manifest at a path that another includes: slash-separated,
	// relative to where the first one's relative paths begin, or absolute. Its
	// file's Dir must be set. Nil forbids to include.
	Load func(name string) (*source.File, error)
}

// Parse reads files, each merged over those before it. A non-nil error is a
// [source.Errors] holding every fault found, in file order; the manifest then has
// no more than its Sources and Args.
func Parse(o Options, files ...*source.File) (*Manifest, error) {
	l := &loader{decoder: newDecoder(), o: o, state: map[string]loadState{}, args: map[string]*Arg{}, undeclared: map[string]*Arg{}}
	for _, f := range files {
		l.state[path.Join(f.Dir, path.Base(f.Name))] = loading
	}
	for _, f := range files {
		l.file(f)
	}
	m := &Manifest{Sources: l.sources, places: l.places}
	if len(l.errs) == 0 || len(l.parts) > 0 {
		l.expand(files[0])
		m.doc = l.merge()
		l.value(m.doc, reflect.ValueOf(m).Elem(), "")
		l.undecoded = l.errs
		m.relocate()
		m.check(l.decoder)
	}
	m.Args = l.arguments()
	m.Warnings = distinct(l.warnings)
	m.Warnings.Sort(l.sources...)
	if errs := distinct(l.errs); len(errs) > 0 {
		errs.Sort(l.sources...)
		return &Manifest{Sources: m.Sources, Args: m.Args}, errs
	}
	return m, nil
}

// distinct is list without what was said before of the same place.
func distinct(list source.Errors) source.Errors {
	type key struct {
		pos source.Pos
		msg string
	}
	seen := map[key]bool{}
	return slices.DeleteFunc(slices.Clone(list), func(e *source.Error) bool {
		k := key{e.Pos, e.Msg}
		defer func() { seen[k] = true }()
		return seen[k]
	})
}

// ParseConfig reads the value of an image's label "org.mobyproject.config",
// JSON or YAML. Errors are as those of [Parse], and point into f.
func ParseConfig(f *source.File) (Config, error) {
	d := newDecoder()
	var c Config
	if n, ok := d.parse(f); ok {
		d.value(n, reflect.ValueOf(&c).Elem(), "")
		d.undecoded = d.errs
		d.checkConfig(&c, "", nil)
	}
	return c, d.errs.Err()
}

// A loader collects the parts of a manifest.
type loader struct {
	*decoder
	o       Options
	sources []*source.File
	state   map[string]loadState // of files, by their paths
	parts   []part
	args    map[string]*Arg

	undeclared map[string]*Arg // that the text uses all the same
}

type loadState int

const (
	loading loadState = iota + 1
	loaded
)

// A part is one mapping of sections: a file's, or what it has for one architecture.
type part struct {
	root   *yaml.Node
	path   string // "" or "arch.NAME"
	pairs  []pair
	unused bool // not for the platform, and only to be checked
}

// file reads f: what it includes, and then its own parts.
func (l *loader) file(f *source.File) {
	l.sources = append(l.sources, f)
	root, ok := l.parse(f)
	if !ok {
		return
	}
	own := part{root: root}
	special := map[string]*yaml.Node{}
	for _, p := range l.pairs(root, "") {
		switch key := p.key.Value; key {
		case "include", "args", "arch":
			l.places[key] = l.placeOf(p.key)
			special[key] = resolved(p.value)
		default:
			own.pairs = append(own.pairs, p)
		}
	}
	if n := special["include"]; n != nil {
		l.include(n, f)
	}
	if n := special["args"]; n != nil {
		l.declare(n)
	}
	l.parts = append(l.parts, own)
	if n := special["arch"]; n != nil {
		l.byArch(n)
	}
}

// include reads the files that n lists.
func (l *loader) include(n *yaml.Node, f *source.File) {
	var names []string
	l.list(n, reflect.ValueOf(&names).Elem(), "include")
	for i, name := range names {
		at := fmt.Sprintf("include[%d]", i)
		if name == "" {
			continue
		}
		if !path.IsAbs(name) {
			name = path.Join(f.Dir, name)
		}
		switch {
		case l.state[name] == loaded:
			continue
		case l.state[name] == loading:
			l.fault(resolved(n.Content[i]), at, fmt.Sprintf("%s includes itself", name), "a file can only include others")
			continue
		case l.o.Load == nil:
			l.fault(resolved(n.Content[i]), at, "nothing can be included here", "")
			continue
		}
		in, err := l.o.Load(name)
		if err != nil {
			l.fault(resolved(n.Content[i]), at, err.Error(), "the path is relative to the file that includes")
			continue
		}
		l.state[name] = loading
		l.file(in)
		l.state[name] = loaded
	}
}

// architectures are the values of GOARCH that systems can be made for.
var architectures = []string{"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}

// byArch takes the parts for single architectures.
func (l *loader) byArch(n *yaml.Node) {
	for _, p := range l.pairs(n, "arch") {
		l.knownArch(p.key, "arch")
		at := join("arch", p.key.Value)
		l.parts = append(l.parts, part{
			root: p.value, path: at, pairs: l.pairs(resolved(p.value), at), unused: p.key.Value != l.arch(),
		})
	}
}

// arch is what is built for, as in GOARCH; "" is none in particular.
func (l *loader) arch() string {
	_, rest, _ := strings.Cut(l.o.Platform, "/")
	arch, _, _ := strings.Cut(rest, "/")
	return arch
}

func (l *loader) knownArch(n *yaml.Node, path string) {
	if l.isString(n) && !slices.Contains(architectures, n.Value) {
		hint := source.Nearest(n.Value, architectures)
		if name := (map[string]string{"x86": "amd64", "x86_64": "amd64", "x64": "amd64", "aarch64": "arm64"})[n.Value]; name != "" {
			hint = fmt.Sprintf("did you mean %q?", name)
		}
		l.fault(n, path, fmt.Sprintf("unknown architecture %q", n.Value), hint)
	}
}

var argName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// declare takes arguments with their defaults; a later file's replace those of
// an earlier.
func (l *loader) declare(n *yaml.Node) {
	for _, p := range l.pairs(n, "args") {
		at := join("args", p.key.Value)
		value := resolved(p.value)
		switch {
		case !argName.MatchString(p.key.Value):
			l.fault(p.key, "args", fmt.Sprintf("%q cannot name an argument", p.key.Value), `use letters, digits and "_", beginning with a letter`)
			continue
		case slices.Contains(platformArgs, p.key.Value):
			l.fault(p.key, "args", p.key.Value+" is set by the build", "")
			continue
		case value.Kind != yaml.ScalarNode:
			l.wrongType(value, at, "a default, or nothing")
			continue
		}
		l.args[p.key.Value] = &Arg{
			Name: p.key.Value, Value: value.Value, Required: value.ShortTag() == "!!null", Doc: comment(p),
			Pos: l.placeOf(p.key).pos,
		}
	}
}

// comment is what stands beside or above an entry.
func comment(p pair) string {
	for _, c := range []string{p.value.LineComment, p.key.LineComment, p.key.HeadComment} {
		if c == "" {
			continue
		}
		var words []string
		for line := range strings.Lines(c) {
			words = append(words, strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#")))
		}
		return strings.Join(words, " ")
	}
	return ""
}

// arguments are all that the manifest can be given, by name.
func (l *loader) arguments() []Arg {
	all := maps.Clone(l.args)
	maps.Copy(all, l.undeclared)
	var out []Arg
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, *all[name])
	}
	return out
}

// relocate makes the paths of sources relative to where the first file's begin.
func (m *Manifest) relocate() {
	for i := range m.Files {
		f := &m.Files[i]
		if f.Source == "" || f.IsURL() || path.IsAbs(f.Source) || strings.HasPrefix(f.Source, "~/") {
			continue
		}
		if at, ok := m.places[fmt.Sprintf("files[%d].source", i)]; ok {
			f.Source = path.Join(at.pos.File.Dir, f.Source)
		}
	}
}

// IsURL tells whether the source is to be fetched.
func (f *File) IsURL() bool {
	return strings.HasPrefix(f.Source, "https://") || strings.HasPrefix(f.Source, "http://")
}
