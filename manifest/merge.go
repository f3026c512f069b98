package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// A merger lays the parts of a manifest over each other: entries of lists come
// after those of earlier parts, keys of the kernel replace theirs.
type merger struct {
	*loader
	out   *yaml.Node
	known []field
}

// merge makes one mapping of all parts.
func (l *loader) merge() *yaml.Node {
	m := &merger{loader: l, out: &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}, known: fields(reflect.TypeFor[Manifest]())}
	if len(l.sources) > 0 {
		l.files[m.out] = l.sources[0]
	}
	for _, p := range l.parts {
		if p.unused {
			m.checkOnly(p.root, reflect.New(reflect.TypeFor[Manifest]()).Elem(), p.path)
			continue
		}
		for _, pair := range p.pairs {
			m.section(pair, p.path)
		}
	}
	return m.out
}

// checkOnly decodes n, of which nothing is used, for the faults in it.
func (m *merger) checkOnly(n *yaml.Node, v reflect.Value, path string) {
	places := m.places
	m.places = map[string]place{}
	m.value(n, v, path)
	m.places = places
}

// section lays one section over what is there of it.
func (m *merger) section(p pair, path string) {
	i := slices.IndexFunc(m.known, func(f field) bool { return f.name == p.key.Value })
	if i < 0 {
		known := m.known
		if path == "" {
			known = fields(reflect.TypeFor[Document]())
		}
		m.unknown(p.key, path, known)
		return
	}
	value, typ := resolved(p.value), reflect.TypeFor[Manifest]().FieldByIndex(m.known[i].index).Type
	old := m.get(m.out, p.key.Value)
	switch {
	case value.Kind == yaml.SequenceNode && typ.Kind() == reflect.Slice && (old == nil || old.Kind == yaml.SequenceNode):
		if old == nil {
			old = m.made(yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}, value)
			m.put(m.out, p.key, old)
		}
		for i, item := range value.Content {
			m.item(old, item, typ.Elem(), fmt.Sprintf("%s[%d]", p.key.Value, i))
		}
	case value.Kind == yaml.MappingNode && old != nil && old.Kind == yaml.MappingNode:
		m.put(m.out, p.key, m.over(old, value, p.key.Value))
	default:
		m.put(m.out, p.key, p.value)
	}
}

// made is a new node that stands where from does.
func (m *merger) made(n yaml.Node, from *yaml.Node) *yaml.Node {
	n.Line, n.Column = from.Line, from.Column
	m.files[&n] = m.files[from]
	return &n
}

// get is the value of a key in mapping n, nil if there is none.
func (m *merger) get(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return resolved(n.Content[i+1])
		}
	}
	return nil
}

// put gives a key of mapping n a value.
func (m *merger) put(n, key, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key.Value {
			n.Content[i], n.Content[i+1] = key, value
			return
		}
	}
	n.Content = append(n.Content, key, value)
}

// over is mapping old with the keys of own over it: mappings are laid over each
// other in turn, lists whose key ends in ".add" are joined.
func (m *merger) over(old, own *yaml.Node, path string) *yaml.Node {
	out := m.made(yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, own)
	for _, p := range m.pairs(old, path) {
		out.Content = append(out.Content, p.key, p.value)
	}
	for _, p := range m.pairs(own, path) {
		value, was := resolved(p.value), m.get(out, p.key.Value)
		switch {
		case was == nil:
		case was.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			value = m.over(was, value, join(path, p.key.Value))
		case strings.HasSuffix(p.key.Value, ".add") && was.Kind == yaml.SequenceNode && value.Kind == yaml.SequenceNode:
			joined := m.made(yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}, value)
			joined.Content = append(slices.Clone(was.Content), value.Content...)
			value = joined
		}
		m.put(out, p.key, value)
	}
	return out
}

// item adds an entry to a list, or does to the entry of its name what it says.
func (m *merger) item(list, item *yaml.Node, typ reflect.Type, path string) {
	entry := resolved(item)
	if entry.Kind != yaml.MappingNode || typ.Kind() != reflect.Struct {
		list.Content = append(list.Content, item)
		return
	}
	own := m.made(yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, entry)
	var override *yaml.Node
	here := true
	for _, p := range m.pairs(entry, path) {
		switch p.key.Value {
		case "override":
			override = resolved(p.value)
		case "arch":
			here = m.here(p.value, join(path, "arch"))
		default:
			own.Content = append(own.Content, p.key, p.value)
		}
	}
	switch {
	case !here:
		m.checkOnly(entry, reflect.New(typ).Elem(), path)
	case override != nil:
		m.override(list, own, override, path)
	default:
		list.Content = append(list.Content, own)
	}
}

// here tells whether an entry is for the architecture that is built for.
func (m *merger) here(n *yaml.Node, path string) bool {
	var list []string
	n = resolved(n)
	if m.isString(n) {
		m.wrongType(n, path, "a list")
		return true
	}
	faults := len(m.errs)
	m.checkOnly(n, reflect.ValueOf(&list).Elem(), path)
	for _, item := range n.Content {
		m.knownArch(item, path)
	}
	return len(m.errs) > faults || slices.Contains(list, m.arch())
}

// override does to an earlier entry what the value of the key "override" says.
func (m *merger) override(list, own, how *yaml.Node, path string) {
	ways := []string{"merge", "replace", "remove"}
	switch {
	case !m.isString(how):
		m.wrongType(how, join(path, "override"), "a string")
		return
	case !slices.Contains(ways, how.Value):
		m.fault(how, join(path, "override"), fmt.Sprintf("unknown value %q", how.Value), "allowed: "+strings.Join(ways, ", "))
		return
	}
	key := "name"
	name := m.get(own, key)
	if name == nil {
		if key, name = "path", m.get(own, "path"); name == nil {
			list.Content = append(list.Content, own) // checking says what is missing
			return
		}
	}
	var names []string
	at := -1
	for i, other := range list.Content {
		if n := m.get(resolved(other), key); n != nil {
			names = append(names, n.Value)
			if n.Value == name.Value {
				at = i
			}
		}
	}
	if at < 0 {
		m.fault(name, join(path, key), fmt.Sprintf("there is no %q before this to override", name.Value), source.Nearest(name.Value, names))
		return
	}
	switch how.Value {
	case "merge":
		list.Content[at] = m.over(resolved(list.Content[at]), own, path)
	case "replace":
		list.Content[at] = own
	case "remove":
		list.Content = slices.Delete(list.Content, at, at+1)
		if len(own.Content) > 2 {
			m.fault(own.Content[2], path, "an entry that removes another has only a name", "remove the other keys")
		}
	}
}
