package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// maxDepth bounds how deep nodes nest, aliases followed: a document that
// contains itself must end.
const maxDepth = 64

// A decoder fills Go values from YAML nodes, notes where each value stands, and
// collects every fault.
type decoder struct {
	files     map[*yaml.Node]*source.File // the text each node stands in
	loose     map[*yaml.Node]bool         // plain scalars that variables made: what they say fits any type
	broken    map[*yaml.Node]bool         // scalars with a variable that has no value
	places    map[string]place
	errs      source.Errors
	undecoded source.Errors // those of errs that were found while decoding
	warnings  source.Errors
	depth     int
}

// A place is where a value, or the key that names it, stands.
type place struct {
	pos source.Pos
	len int
}

func newDecoder() *decoder {
	return &decoder{
		files: map[*yaml.Node]*source.File{}, loose: map[*yaml.Node]bool{}, broken: map[*yaml.Node]bool{},
		places: map[string]place{},
	}
}

// nodeDecoder is a type that reads itself from a scalar.
type nodeDecoder interface {
	decodeNode(d *decoder, n *yaml.Node, path string)
}

// parse reads the one document of f.
func (d *decoder) parse(f *source.File) (*yaml.Node, bool) {
	dec := yaml.NewDecoder(bytes.NewReader(f.Data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		d.errs = append(d.errs, &source.Error{
			Pos: source.Pos{File: f, Line: 1, Col: 1},
			Msg: "the manifest is empty", Hint: `the smallest one is "{}"; see "lkx build --help" for an example`,
		})
		return nil, false
	}
	if err == nil {
		err = dec.Decode(&second)
		if err == nil {
			d.files[&second] = f
			d.fault(&second, "", "a manifest is one document, and here a second one begins", "put it into a file of its own")
			return nil, false
		}
	}
	if !errors.Is(err, io.EOF) {
		d.errs = append(d.errs, syntaxError(f, err))
		return nil, false
	}
	d.own(doc.Content[0], f)
	return doc.Content[0], true
}

// own notes that n, and all in it, stands in f.
func (d *decoder) own(n *yaml.Node, f *source.File) {
	d.files[n] = f
	for _, c := range n.Content {
		d.own(c, f)
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError gives the library's message a place: it names lines, not columns.
func syntaxError(f *source.File, err error) *source.Error {
	msg := err.Error()
	m := yamlLine.FindStringSubmatch(msg)
	line := 1
	if m != nil {
		msg = msg[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = min(n, f.Lines())
		}
	}
	text := f.Line(line)
	col := len(text) - len(strings.TrimLeft(text, " \t"))
	return &source.Error{
		Pos: source.Pos{File: f, Line: line, Col: col + 1}, Len: len(text) - col,
		Msg: "not valid YAML: " + msg, Err: err,
	}
}

// placeOf finds n in the text. The library counts columns in characters, and
// lines by more line ends than editors do.
func (d *decoder) placeOf(n *yaml.Node) place {
	f := d.files[n]
	line, col := min(max(n.Line, 1), f.Lines()), max(n.Column, 1)
	text := f.Line(line)
	rest := text
	for i := 1; i < col && rest != ""; i++ {
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
	}
	return place{
		pos: source.Pos{File: f, Line: line, Col: len(text) - len(rest) + 1},
		len: scalarLen(n, rest),
	}
}

// scalarLen is how many bytes of text, which begins at n, to underline.
func scalarLen(n *yaml.Node, text string) int {
	if n.Kind == yaml.AliasNode {
		return len(n.Value) + 1
	}
	if n.Kind != yaml.ScalarNode || text == "" {
		return 1
	}
	if q := text[0]; q == '"' || q == '\'' {
		if i := strings.IndexByte(text[1:], q); i >= 0 {
			return i + 2
		}
		return len(text)
	}
	if strings.HasPrefix(text, n.Value) {
		return len(n.Value)
	}
	return 1
}

func (d *decoder) fault(n *yaml.Node, path, msg, hint string) {
	p := d.placeOf(n)
	d.errs = append(d.errs, &source.Error{Pos: p.pos, Len: p.len, Path: path, Msg: msg, Hint: hint})
}

// value decodes n into v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if d.depth++; d.depth > maxDepth {
		d.fault(n, path, "nested too deeply", "")
		d.depth--
		return
	}
	defer func() { d.depth-- }()
	if n.Kind == yaml.AliasNode {
		d.places[path] = d.placeOf(n)
		d.value(n.Alias, v, path)
		return
	}
	if _, ok := d.places[path]; !ok {
		d.places[path] = d.placeOf(n)
	}
	if d.broken[n] {
		return
	}
	if c, ok := v.Addr().Interface().(nodeDecoder); ok {
		c.decodeNode(d, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.stringMap(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, path, "a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

func (d *decoder) stringMap(n *yaml.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	for _, p := range d.pairs(n, path) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, item, join(path, p.key.Value))
		out.SetMapIndex(reflect.ValueOf(p.key.Value), item)
	}
	v.Set(out)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if v.Kind() == reflect.String && d.isString(n) {
		v.SetString(n.Value)
		return
	}
	want := scalarNames[v.Kind()]
	if n.Kind != yaml.ScalarNode || n.ShortTag() != scalarTags[v.Kind()] {
		d.wrongType(n, path, want)
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.fault(n, path, fmt.Sprintf("%s is out of range for %s", n.Value, want), "")
	}
}

// isString tells whether n is a text: one in YAML, or made so by a variable.
func (d *decoder) isString(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || d.loose[n])
}

var scalarTags = map[reflect.Kind]string{
	reflect.Bool: "!!bool",
	reflect.Int:  "!!int", reflect.Int64: "!!int",
	reflect.Uint64: "!!int", reflect.Uint32: "!!int", reflect.Uint16: "!!int",
}

var scalarNames = map[reflect.Kind]string{
	reflect.String: "a string", reflect.Bool: "true or false",
	reflect.Int: "a number", reflect.Int64: "a number",
	reflect.Uint64: "a number from 0", reflect.Uint32: "a number from 0 to 4294967295", reflect.Uint16: "a number from 0 to 65535",
}

// wrongType complains that n is not want, a type with its article.
func (d *decoder) wrongType(n *yaml.Node, path, want string) {
	hint := ""
	switch {
	case want == "a string" && n.Kind == yaml.ScalarNode && n.Value != "" && n.ShortTag() != "!!null":
		hint = fmt.Sprintf("write it in quotes: %q", n.Value)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		hint = "give it a value, or remove the key"
	case want == "a list" && n.Kind == yaml.ScalarNode:
		hint = fmt.Sprintf("write it as a list: [%s]", quoteFlow(n))
	}
	d.fault(n, path, fmt.Sprintf("expected %s, found %s", want, describe(n)), hint)
}

func quoteFlow(n *yaml.Node) string {
	if n.ShortTag() == "!!str" {
		return strconv.Quote(n.Value)
	}
	return n.Value
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return "the string " + strconv.Quote(n.Value)
	case "!!bool":
		return "the boolean " + n.Value
	case "!!int", "!!float":
		return "the number " + n.Value
	}
	return n.Value
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
