package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// A model is the manifest's types as the Go source has them.
type model struct {
	structs []*structType // in the order they are reached from the root, the root first
	forms   []formType    // in the same order
}

type structType struct {
	name, doc string
	fields    []field
}

// A formType is a named type that is written as one scalar.
type formType struct{ name, doc string }

// A field is one key of a struct, or the keys of the struct that it inlines.
type field struct {
	key, alias string
	doc        string
	typ        valueType
	enum       []string
	required   bool
	inline     bool
}

type kind int

const (
	scalar  kind = iota // bool, string or one of Go's integers
	form                // see forms
	mapping             // a struct
	list
	dict // a mapping whose keys are the user's
)

type valueType struct {
	kind     kind
	name     string     // of a scalar, a form or a mapping
	elem     *valueType // of a list or a dict
	nullable bool       // a pointer
}

// find is the struct of that name; the model has all that its fields name.
func (m *model) find(name string) *structType {
	for _, s := range m.structs {
		if s.name == name {
			return s
		}
	}
	return nil
}

// A declaration is a type in the source.
type declaration struct {
	doc  string
	expr ast.Expr
}

// A reader builds a model. Types wait in queue from the moment they are first named.
type reader struct {
	declared map[string]declaration
	known    map[string]bool
	queue    []string
}

// readModel reads the types that can be reached from root in the package in dir.
func readModel(dir, root string) (*model, error) {
	declared, err := parsePackage(dir)
	if err != nil {
		return nil, err
	}
	r := &reader{declared: declared, known: map[string]bool{}}
	if _, err := r.named(root); err != nil {
		return nil, err
	}
	m := &model{}
	for i := 0; i < len(r.queue); i++ {
		name := r.queue[i]
		d := declared[name]
		if d.doc == "" {
			return nil, fmt.Errorf("type %s has no comment", name)
		}
		if _, ok := forms[name]; ok {
			m.forms = append(m.forms, formType{name, d.doc})
			continue
		}
		s, err := r.structType(name, d)
		if err != nil {
			return nil, fmt.Errorf("type %s: %w", name, err)
		}
		m.structs = append(m.structs, s)
	}
	return m, nil
}

func parsePackage(dir string) (map[string]declaration, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	out := map[string]declaration{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("not Go: %w", err)
		}
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range group.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok {
					out[t.Name.Name] = declaration{doc: comment(t.Doc, group.Doc), expr: t.Type}
				}
			}
		}
	}
	return out, nil
}

// comment is the text of the first group that has one, in one line.
func comment(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if words := strings.Fields(g.Text()); len(words) > 0 {
			return strings.Join(words, " ")
		}
	}
	return ""
}

func (r *reader) structType(name string, d declaration) (*structType, error) {
	t, ok := d.expr.(*ast.StructType)
	if !ok {
		return nil, errors.New("neither a struct nor a form that schemagen knows")
	}
	s := &structType{name: name, doc: d.doc}
	for _, f := range t.Fields.List {
		tag, ok, err := fieldTag(f)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue // not a key, but what the program makes of them
		}
		own, err := r.field(f, tag)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", tag, err)
		}
		s.fields = append(s.fields, own)
	}
	return s, nil
}

// fieldTag is the struct tag of f, if it makes f a key of the manifest.
func fieldTag(f *ast.Field) (reflect.StructTag, bool, error) {
	if f.Tag == nil {
		return "", false, nil
	}
	text, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return "", false, fmt.Errorf("tag %s: %w", f.Tag.Value, err)
	}
	tag := reflect.StructTag(text)
	_, ok := tag.Lookup("yaml")
	return tag, ok, nil
}

func (r *reader) field(f *ast.Field, tag reflect.StructTag) (field, error) {
	typ, err := r.valueType(f.Type)
	if err != nil {
		return field{}, err
	}
	out := field{doc: comment(f.Doc), typ: typ, required: tag.Get("required") == "true"}
	name, option, _ := strings.Cut(tag.Get("yaml"), ",")
	out.key = name
	switch alias, isAlias := strings.CutPrefix(option, "alias="); {
	case isAlias:
		out.alias = alias
	case option == "inline":
		out.inline = true
	case option != "":
		return field{}, fmt.Errorf("unknown option %q", option)
	}
	if enum, ok := tag.Lookup("enum"); ok {
		out.enum = strings.Split(enum, ",")
	}
	switch {
	case out.inline && typ.kind == mapping:
	case out.inline || out.key == "":
		return field{}, errors.New("a key has a name, and only structs are inlined")
	case out.doc == "":
		return field{}, errors.New("the field has no comment")
	case out.enum != nil && (typ.kind != scalar || typ.name != "string"):
		return field{}, errors.New("only a string has an enum")
	}
	return out, nil
}

func (r *reader) valueType(e ast.Expr) (valueType, error) {
	switch e := e.(type) {
	case *ast.StarExpr:
		t, err := r.valueType(e.X)
		t.nullable = true
		return t, err
	case *ast.ArrayType:
		elem, err := r.valueType(e.Elt)
		return valueType{kind: list, elem: &elem}, err
	case *ast.MapType:
		elem, err := r.valueType(e.Value)
		return valueType{kind: dict, elem: &elem}, err
	case *ast.Ident:
		return r.named(e.Name)
	}
	return valueType{}, fmt.Errorf("a %T says nothing about YAML", e)
}

// named is the type of that name; one of the package's joins the queue.
func (r *reader) named(name string) (valueType, error) {
	d, ok := r.declared[name]
	if _, isScalar := scalars[name]; isScalar && !ok {
		return valueType{kind: scalar, name: name}, nil
	}
	if !ok {
		return valueType{}, fmt.Errorf("there is no type %s", name)
	}
	if !r.known[name] {
		r.known[name] = true
		r.queue = append(r.queue, name)
	}
	if _, isForm := forms[name]; isForm {
		return valueType{kind: form, name: name}, nil
	}
	if _, isStruct := d.expr.(*ast.StructType); !isStruct {
		return valueType{}, fmt.Errorf("type %s is neither a struct nor a form that schemagen knows", name)
	}
	return valueType{kind: mapping, name: name}, nil
}
