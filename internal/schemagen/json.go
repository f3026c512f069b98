package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// An object is a JSON object that keeps its order: editors offer keys in the
// order of the schema.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := encode(m.key, "")
		if err != nil {
			return nil, err
		}
		value, err := encode(m.value, "")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
		out.Write(bytes.TrimSpace(key))
		out.WriteByte(':')
		out.Write(bytes.TrimSpace(value))
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// encode leaves "<" and "&" as they are, which json.Marshal would not.
func encode(v any, indent string) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return out.Bytes(), nil
}
