package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// platformArgs are the arguments that every build sets.
var platformArgs = []string{"TARGETPLATFORM", "TARGETOS", "TARGETARCH"}

// programs are the keys whose texts may be programs with variables of their
// own: there, ${NAME} that is no argument is left alone.
var programs = []string{"contents", "command", "exec"}

// expand replaces the variables in all parts. first is where a fault of the
// given arguments is shown.
func (l *loader) expand(first *source.File) {
	x := &expander{loader: l, seen: map[*yaml.Node]bool{}, used: map[string]bool{}}
	for _, given := range []map[string]string{l.o.Spare, l.o.Args} {
		for name, value := range given {
			if a := l.args[name]; a != nil {
				a.Value, a.given = value, true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.args)) {
		if a := l.args[name]; a.Required && !a.given {
			l.errs = append(l.errs, &source.Error{
				Pos: a.Pos, Len: len(name), Path: "args", Msg: fmt.Sprintf("argument %s has no default, and was not given", name),
				Hint: fmt.Sprintf("give it: --arg %s=… (docker buildx build: --build-arg %s=…)", name, name),
			})
		}
	}
	for _, p := range l.parts {
		for _, pair := range p.pairs {
			x.node(pair.value, join(p.path, pair.key.Value), slices.Contains(programs, pair.key.Value))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.o.Args)) {
		if l.args[name] == nil && !x.used[name] {
			l.errs = append(l.errs, &source.Error{
				Pos: source.Pos{File: first, Line: 1, Col: 1}, Path: "args",
				Msg:  fmt.Sprintf("argument %s is given, but the manifest has none of that name", name),
				Hint: source.Nearest(name, append(slices.Sorted(maps.Keys(l.args)), l.o.Known...)),
			})
		}
	}
}

type expander struct {
	*loader
	seen map[*yaml.Node]bool
	used map[string]bool // names that the text names
}

// node replaces the variables in n; in a program only those that are arguments.
func (x *expander) node(n *yaml.Node, path string, program bool) {
	if x.seen[n] {
		return
	}
	x.seen[n] = true
	switch n.Kind {
	case yaml.SequenceNode:
		for i, c := range n.Content {
			x.node(c, fmt.Sprintf("%s[%d]", path, i), program)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			x.node(n.Content[i+1], join(path, key), program || slices.Contains(programs, key))
		}
	case yaml.AliasNode:
		x.node(n.Alias, path, program)
	case yaml.ScalarNode:
		x.text(n, path, program)
	}
}

// text replaces the variables in scalar n: ${NAME} and ${NAME:-default}; $${ is
// a plain ${.
func (x *expander) text(n *yaml.Node, path string, program bool) {
	if !strings.Contains(n.Value, "${") || n.ShortTag() != "!!str" {
		return
	}
	var out strings.Builder
	replaced := false
	rest := n.Value
	for i := strings.Index(rest, "${"); i >= 0; i = strings.Index(rest, "${") {
		if i > 0 && rest[i-1] == '$' {
			out.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		out.WriteString(rest[:i])
		rest = rest[i:]
		end := strings.IndexByte(rest, '}') + 1
		if end == 0 {
			end = len(rest)
		}
		v := x.variable(n, path, rest[:end], program)
		out.WriteString(v.text)
		replaced = replaced || v.replaced
		rest = rest[end:]
	}
	out.WriteString(rest)
	if replaced && n.Style == 0 {
		n.Tag, x.loose[n] = "", true
	}
	n.Value = out.String()
}

// A variable is what became of one "${…}".
type variable struct {
	text     string
	replaced bool
}

// variable is what "${…}" in scalar n means.
func (x *expander) variable(n *yaml.Node, path, raw string, program bool) variable {
	name, fallback, hasDefault := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(raw, "${"), "}"), ":-")
	if !argName.MatchString(name) || !strings.HasSuffix(raw, "}") || strings.Contains(fallback, "${") {
		if !program {
			x.faultIn(n, path, raw, fmt.Sprintf("%q is not a variable", raw), `write ${NAME} or ${NAME:-default}; "$${" is a plain "${"`)
		}
		return variable{text: raw}
	}
	x.used[name] = true
	value, ok := x.lookup(name)
	if x.args[name] == nil && (ok || hasDefault) && !slices.Contains(platformArgs, name) {
		x.undeclared[name] = &Arg{Name: name, Value: cmp.Or(value, fallback), Pos: x.placeOf(n).pos}
	}
	switch {
	case ok:
		return variable{text: value, replaced: true}
	case program && hasDefault:
		x.warnProgram(n, path, raw, fmt.Sprintf("%s is no argument, and its default stands here", name))
		return variable{text: fallback, replaced: true}
	case hasDefault:
		return variable{text: fallback, replaced: true}
	case program:
		x.warnProgram(n, path, raw, fmt.Sprintf("%s is no argument, and left for the program to expand", name))
		return variable{text: raw}
	case x.args[name] == nil: // one that was declared has been complained of
		x.faultIn(n, path, raw, fmt.Sprintf("there is no argument %s", name), x.undefined(name))
	}
	x.broken[n] = true
	return variable{text: raw}
}

// lookup is the value of an argument that has one.
func (x *expander) lookup(name string) (string, bool) {
	for _, given := range []map[string]string{x.o.Args, x.o.Spare} {
		if value, ok := given[name]; ok {
			return value, true
		}
	}
	if i := slices.Index(platformArgs, name); i >= 0 && x.o.Platform != "" {
		os, _, _ := strings.Cut(x.o.Platform, "/")
		return []string{x.o.Platform, os, x.arch()}[i], true
	}
	if a := x.args[name]; a != nil && !a.Required {
		return a.Value, true
	}
	return "", false
}

// undefined is the hint for a name that is no argument.
func (x *expander) undefined(name string) string {
	known := slices.Sorted(maps.Keys(x.args))
	if hint := source.Nearest(name, known); strings.HasPrefix(hint, "did") {
		return hint
	}
	return fmt.Sprintf(`give it (--arg %s=…), declare it under "args", or write $${%s} for the text itself`, name, name)
}

// warnProgram warns of a variable in a text that may be a program with
// variables of its own.
func (x *expander) warnProgram(n *yaml.Node, path, raw, msg string) {
	at := x.find(n, raw)
	x.warnings = append(x.warnings, &source.Error{
		Pos: at.pos, Len: at.len, Path: path, Rule: "ProgramVariable", Msg: msg,
		Hint: fmt.Sprintf(`declare it under "args"; or write $%s, if the program is meant to`, raw),
	})
}

// faultIn complains about raw, a part of scalar n.
func (x *expander) faultIn(n *yaml.Node, path, raw, msg, hint string) {
	at := x.find(n, raw)
	x.broken[n] = true
	x.errs = append(x.errs, &source.Error{Pos: at.pos, Len: at.len, Path: path, Msg: msg, Hint: hint})
}

// find is the place of raw in scalar n, which may take several lines; that of n
// where escapes hide it.
func (x *expander) find(n *yaml.Node, raw string) place {
	at := x.placeOf(n)
	f := at.pos.File
	first, _, _ := strings.Cut(raw, "\n")
	last := min(at.pos.Line+1+strings.Count(n.Value, "\n"), f.Lines())
	for line, from := at.pos.Line, at.pos.Col-1; line <= last; line, from = line+1, 0 {
		text := f.Line(line)
		if i := strings.Index(text[min(from, len(text)):], first); i >= 0 {
			return place{pos: source.Pos{File: f, Line: line, Col: from + i + 1}, len: len(first)}
		}
	}
	return at
}
