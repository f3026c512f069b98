package manifest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"gopkg.in/yaml.v3"
)

// decodeNode reads an image reference and completes it as Docker does:
// docker.io, library/ and :latest where they are left out.
func (r *Ref) decodeNode(d *decoder, n *yaml.Node, path string) {
	if !d.isString(n) {
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
}

// decodeNode reads permission bits, an octal number in quotes.
func (m *Mode) decodeNode(d *decoder, n *yaml.Node, path string) {
	if !d.isString(n) {
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

// decodeNode reads a time with its unit.
func (t *Duration) decodeNode(d *decoder, n *yaml.Node, path string) {
	if !d.isString(n) {
		d.wrongType(n, path, "a time such as 10s")
		return
	}
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < 0 {
		d.fault(n, path, fmt.Sprintf("%q is not a time", n.Value), `write a number with its unit, such as "500ms", "10s" or "2m"`)
		return
	}
	*t = Duration(v)
}
