package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// A pair is one key of a mapping and its value.
type pair struct{ key, value *yaml.Node }

// pairs lists the keys of n in order, with those that "<<" merges in, which
// the mapping's own keys override.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, "a mapping")
		return nil
	}
	if d.depth++; d.depth > maxDepth {
		d.depth--
		return nil
	}
	defer func() { d.depth-- }()
	var own, merged []pair
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, d.merged(value, path)...)
			continue
		case key.Kind != yaml.ScalarNode:
			d.fault(key, path, "a key must be a string", "")
			continue
		case first[key.Value] != nil:
			d.fault(key, path, fmt.Sprintf("key %q is given twice", key.Value), fmt.Sprintf("the first one is in line %d", first[key.Value].Line))
			continue
		}
		first[key.Value] = key
		own = append(own, pair{key, value})
	}
	for _, p := range merged {
		if first[p.key.Value] == nil {
			first[p.key.Value] = p.key
			own = append(own, p)
		}
	}
	return own
}

// merged lists the keys that "<<: n" brings: of a mapping, or of a list of them.
func (d *decoder) merged(n *yaml.Node, path string) []pair {
	switch {
	case n.Kind == yaml.AliasNode:
		return d.merged(n.Alias, path)
	case n.Kind != yaml.SequenceNode:
		return d.pairs(n, path)
	}
	var out []pair
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		out = append(out, d.pairs(item, path)...)
	}
	return out
}

// A field is one key that a struct knows.
type field struct {
	name  string // as it is written
	index []int
	enum  []string // all values it can have; nil: any
}

// fields lists the keys of struct type t, those of inlined structs included,
// under each spelling it accepts.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if opts == "inline" {
			for _, in := range fields(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
			continue
		}
		one := field{name: name, index: []int{i}}
		if enum, ok := f.Tag.Lookup("enum"); ok {
			one.enum = strings.Split(enum, ",")
		}
		out = append(out, one)
		if alias, ok := strings.CutPrefix(opts, "alias="); ok {
			one.name = alias
			out = append(out, one)
		}
	}
	return out
}

// mapping decodes n into struct v; a key that v does not know is a fault.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	known := fields(v.Type())
	for _, p := range d.pairs(n, path) {
		i := slices.IndexFunc(known, func(f field) bool { return f.name == p.key.Value })
		if i < 0 {
			d.unknown(p.key, path, known)
			continue
		}
		to, at := v.FieldByIndex(known[i].index), join(path, p.key.Value)
		d.value(p.value, to, at)
		if known[i].enum != nil && to.String() != "" && !slices.Contains(known[i].enum, to.String()) {
			d.fault(resolved(p.value), at, fmt.Sprintf("unknown value %q", to.String()), "allowed: "+strings.Join(known[i].enum, ", "))
		}
	}
}

// unknown complains of a key that is none of known.
func (d *decoder) unknown(key *yaml.Node, path string, known []field) {
	d.fault(key, path, fmt.Sprintf("unknown key %q", key.Value), source.Nearest(key.Value, names(known)))
}

// resolved is n, or what it is an alias of.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func names(known []field) []string {
	out := make([]string, len(known))
	for i, f := range known {
		out[i] = f.name
	}
	return out
}

// errorAt is a complaint about the value at path, or the nearest one around it.
func errorAt(places map[string]place, path, msg string) *source.Error {
	for p := path; ; {
		if at, ok := places[p]; ok {
			return &source.Error{Pos: at.pos, Len: at.len, Path: path, Msg: msg}
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			return &source.Error{Pos: places[""].pos, Path: path, Msg: msg}
		}
		p = p[:i]
	}
}
