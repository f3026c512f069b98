package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Kinds of metrics.
const (
	counter = "counter"
	gauge   = "gauge"
)

// page is a set of metrics in the order in which they were first added.
type page struct {
	families []*family
	byName   map[string]*family
}

type family struct {
	name, kind, help string
	samples          []string // the lines
}

// add adds a sample. Labels are names and values in turn.
func (p *page) add(name, kind, help string, value float64, labels ...string) {
	f := p.byName[name]
	if f == nil {
		f = &family{name: name, kind: kind, help: help}
		if p.byName == nil {
			p.byName = map[string]*family{}
		}
		p.byName[name] = f
		p.families = append(p.families, f)
	}
	var b strings.Builder
	b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(labels[i] + `="` + escape.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64))
	f.samples = append(f.samples, b.String())
}

// escape is for the values of labels.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// WriteTo writes the page in Prometheus' text format: a family's samples stand
// together, below what the family is.
func (p *page) WriteTo(w io.Writer) (int64, error) {
	out := bufio.NewWriter(w)
	total := int64(0)
	for _, f := range p.families {
		n, err := fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s\n", f.name, f.help, f.name, f.kind, strings.Join(f.samples, "\n"))
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, out.Flush()
}
