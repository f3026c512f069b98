package main

import (
	"math"
	"slices"
)

const (
	schemaURL   = "https://github.com/lkx-os/lkx/raw/main/manifest/schema.json"
	definitions = "#/definitions/"
	// variable is the definition of a text that has yet to become a value.
	variable = "variable"
)

// scalars are the types of Go that stand for one of JSON.
var scalars = map[string]object{
	"string": {{"type", "string"}},
	"bool":   {{"type", "boolean"}},
	"int":    {{"type", "integer"}},
	"int64":  {{"type", "integer"}},
	"uint16": {{"type", "integer"}, {"minimum", 0}, {"maximum", math.MaxUint16}},
	"uint32": {{"type", "integer"}, {"minimum", 0}, {"maximum", math.MaxUint32}},
	"uint64": {{"type", "integer"}, {"minimum", 0}},
}

// forms are the manifest's own scalars: what readers call them, and what can be
// written.
var forms = map[string]struct {
	label  string
	schema object
}{
	"Ref":  {"image reference", object{{"type", "string"}, {"minLength", 1}}},
	"Mode": {"octal string", orVariable(object{{"type", "string"}, {"pattern", "^0*[0-7]{1,4}$"}})},
	"ID": {"id", object{{"anyOf", []object{
		{{"type", "integer"}, {"minimum", 0}, {"maximum", math.MaxUint32}},
		{{"type", "string"}},
	}}}},
	"Duration": {"duration", orVariable(object{
		{"type", "string"},
		{"pattern", `^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$`},
	})},
}

func orVariable(o object) object {
	return object{{"anyOf", []object{o, reference(variable)}}}
}

func reference(name string) object { return object{{"$ref", definitions + name}} }

// writeSchema makes the JSON Schema of m.
func writeSchema(m *model) ([]byte, error) {
	out := object{
		{"$schema", "http://json-schema.org/draft-07/schema#"},
		{"$id", schemaURL},
		{"title", "lkx manifest"},
	}
	out = append(out, m.structSchema(m.structs[0])...)
	var defs object
	inlined := m.inlined()
	for _, s := range m.structs[1:] {
		if !inlined[s.name] {
			defs = append(defs, member{s.name, m.structSchema(s)})
		}
	}
	for _, f := range m.forms {
		defs = append(defs, member{f.name, append(describe(f.doc), forms[f.name].schema...)})
	}
	defs = append(defs, member{variable, object{
		{"description", "A variable, `${NAME}` or `${NAME:-default}`, whose value is of the type that belongs here."},
		{"type", "string"},
		{"pattern", `\$\{`},
	}})
	return encode(append(out, member{"definitions", defs}), "  ")
}

// inlined tells of the structs that are never a value of their own.
func (m *model) inlined() map[string]bool {
	inlined, value := map[string]bool{}, map[string]bool{}
	for _, s := range m.structs {
		for _, f := range s.fields {
			t := f.typ
			for t.elem != nil {
				t = *t.elem
			}
			if f.inline {
				inlined[t.name] = true
			} else {
				value[t.name] = true
			}
		}
	}
	for name := range value {
		delete(inlined, name)
	}
	return inlined
}

// flat is the fields of s with those of the structs it inlines.
func (m *model) flat(s *structType) []field {
	var out []field
	for _, f := range s.fields {
		if f.inline {
			out = append(out, m.flat(m.find(f.typ.name))...)
		} else {
			out = append(out, f)
		}
	}
	return out
}

func (m *model) structSchema(s *structType) object {
	fields := m.flat(s)
	properties := object{}
	for _, f := range fields {
		properties = append(properties, member{f.key, fieldSchema(f)})
		if f.alias != "" {
			f.doc = "Another spelling of `" + f.key + "`."
			properties = append(properties, member{f.alias, fieldSchema(f)})
		}
	}
	out := append(describe(s.doc), member{"type", "object"})
	out = append(out, demands(fields)...)
	return append(out, member{"additionalProperties", false}, member{"properties", properties})
}

// demands says which keys must be there. An entry that overrides an earlier one
// needs only its name, which is the first of the required keys. A mapping that
// cannot say so is always laid over what earlier files have of it, so that any
// of its keys may stand there.
func demands(fields []field) object {
	if !slices.ContainsFunc(fields, func(f field) bool { return f.key == "override" }) {
		return nil
	}
	var out object
	for _, f := range fields {
		switch {
		case !f.required:
		case out == nil:
			out = object{{"required", []string{f.key}}}
		default:
			out = append(out, member{"anyOf", []object{
				{{"required", []string{f.key}}},
				{{"required", []string{"override"}}},
			}})
		}
	}
	return out
}

func describe(doc string) object { return object{{"description", doc}} }

// fieldSchema describes the field even beside "$ref", where draft-07 has
// validators look away: editors show it.
func fieldSchema(f field) object {
	if f.enum != nil {
		return append(describe(f.doc), orVariable(object{{"enum", f.enum}})...)
	}
	return append(describe(f.doc), valueSchema(f.typ)...)
}

func valueSchema(t valueType) object {
	switch t.kind {
	case list:
		return object{{"type", "array"}, {"items", valueSchema(*t.elem)}}
	case dict:
		return object{{"type", "object"}, {"additionalProperties", dictSchema(*t.elem)}}
	case form, mapping:
		return reference(t.name)
	}
	if t.name == "string" {
		return scalars[t.name]
	}
	return orVariable(scalars[t.name])
}

// dictSchema is what the values of a dict can be. Texts that need not be there
// are the defaults of arguments: any scalar is the text it is written as.
func dictSchema(t valueType) object {
	if t.nullable && t.name == "string" {
		return object{{"type", []string{"string", "number", "boolean", "null"}}}
	}
	return valueSchema(t)
}
