package manifest

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// Parse reads f. A non-nil error is a [source.Errors] holding every fault
// found, in file order.
func Parse(f *source.File) (*Manifest, error) {
	d := &decoder{file: f, places: map[string]place{}}
	m := &Manifest{Source: f, places: d.places}
	if n, ok := d.parse(); ok {
		d.value(n, reflect.ValueOf(m).Elem(), "")
		d.undecoded = d.errs
		m.check(d)
	}
	d.warnings.Sort()
	m.Warnings = d.warnings
	if err := d.errs.Err(); err != nil {
		return nil, err
	}
	return m, nil
}

// ParseConfig reads the value of an image's label "org.mobyproject.config",
// JSON or YAML. Errors are as those of [Parse], and point into f.
func ParseConfig(f *source.File) (Config, error) {
	d := &decoder{file: f, places: map[string]place{}}
	var c Config
	if n, ok := d.parse(); ok {
		d.value(n, reflect.ValueOf(&c).Elem(), "")
		d.undecoded = d.errs
		d.checkConfig(&c, "")
	}
	return c, d.errs.Err()
}

// decodeNode reads an image reference and completes it as Docker does:
// docker.io, library/ and :latest where they are left out.
func (r *Ref) decodeNode(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.wrongType(n, path, "an image reference")
		return
	}
	r.Text = n.Value
	named, err := reference.ParseNormalizedNamed(n.Value)
	if err != nil {
		hint := `write it as "registry/path:tag" or "path@sha256:…"`
		if strings.HasPrefix(n.Value, "@") {
			hint = "LinuxKit's @pkg: templates are not supported: write the image's name"
		}
		d.fault(n, path, fmt.Sprintf("%q is not an image reference: %s", n.Value, err), hint)
		return
	}
	r.Name = reference.TagNameOnly(named).String()
	if _, pinned := named.(reference.Digested); !pinned {
		d.warnTag(n, path, named)
	}
}

// warnTag warns of a reference that can name another image tomorrow.
func (d *decoder) warnTag(n *yaml.Node, path string, named reference.Named) {
	t, ok := named.(reference.Tagged)
	if ok && t.Tag() != "latest" {
		return
	}
	p := d.placeOf(n)
	d.warnings = append(d.warnings, &source.Error{
		Pos: p.pos, Len: p.len, Path: path,
		Msg:  fmt.Sprintf("image %s is whatever was pushed last", reference.FamiliarString(named)),
		Hint: `name a version, or pin it by digest: "name@sha256:…"`,
	})
}

// decodeNode reads permission bits, an octal number in quotes.
func (m *Mode) decodeNode(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.wrongType(n, path, "a string")
		return
	}
	v, err := strconv.ParseUint(n.Value, 8, 32)
	if err != nil || v > 0o7777 {
		d.fault(n, path, fmt.Sprintf("%q is not a mode", n.Value), `write an octal number such as "0644"`)
		return
	}
	*m = Mode(v)
}

// decodeNode reads a number, or the name of a container.
func (id *ID) decodeNode(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode {
		d.wrongType(n, path, "a number or a container's name")
		return
	}
	switch n.ShortTag() {
	case "!!int":
		if err := n.Decode(&id.Num); err != nil {
			d.fault(n, path, fmt.Sprintf("%s is not an id: ids go from 0 to 4294967295", n.Value), "")
		}
	case "!!str":
		if v, err := strconv.ParseUint(n.Value, 10, 32); err == nil {
			id.Num = uint32(v)
		} else if n.Value != "" && n.Value != "root" {
			id.Name = n.Value
		}
	default:
		d.wrongType(n, path, "a number or a container's name")
	}
}
