package plan

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/oci"
)

// Text is p for people: what runs, by digest, and what it may do.
func (p *Plan) Text() string {
	var out strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&out, "%-14s %s\n", key, fmt.Sprintf(format, args...))
	}
	line("platform", "%s", p.Platform)
	if p.Boot != nil {
		line("kernel", "%s", p.Boot.Copies[0].Image.Pinned())
		for _, c := range p.Boot.Copies {
			line("", "%s from %s", c.Dest, c.From)
		}
		line("cmdline", "%s", p.Cmdline())
	}
	if p.Code != nil {
		line("boot code", "%s", p.Code.Copies[0].Image.Pinned())
	}
	for _, s := range p.Steps {
		switch {
		case s.Name == "layout" || s.Name == "kernel":
		case s.Name == "files":
			line("files", "")
			for _, f := range s.Files {
				line("", "/%s: %s", f.Path, describe(f))
			}
		default:
			line(s.Title, "%s", strings.Join(images(&s), " "))
			s.container(line)
		}
	}
	return out.String()
}

// container tells what the container of s runs, if it is one.
func (s *Step) container(line func(key, format string, args ...any)) {
	for _, f := range s.Files {
		if path.Base(f.Path) != "config.json" || !strings.HasPrefix(f.Path, "containers/") {
			continue
		}
		var spec specs.Spec
		if json.Unmarshal([]byte(f.Contents), &spec) != nil || spec.Process == nil {
			return
		}
		p := spec.Process
		line("", "command: %s", strings.Join(p.Args, " "))
		outside := ""
		if uids, gids := spec.Linux.UIDMappings, spec.Linux.GIDMappings; len(uids)+len(gids) > 0 {
			uid, _ := oci.Outside(uids, p.User.UID)
			gid, _ := oci.Outside(gids, p.User.GID)
			outside = fmt.Sprintf(" (outside %d:%d)", uid, gid)
		}
		line("", "user: %d:%d%s%s%s", p.User.UID, p.User.GID, outside, given(p.NoNewPrivileges, ", no new privileges"), given(spec.Root.Readonly, ", read-only"))
		if caps := p.Capabilities; caps != nil && len(caps.Bounding) > 0 {
			line("", "capabilities: %s", strings.Join(caps.Bounding, " "))
		}
		var own []string
		for _, n := range spec.Linux.Namespaces {
			own = append(own, string(n.Type)+given(n.Path != "", "="+n.Path))
		}
		line("", "namespaces: %s", strings.Join(own, " "))
		for _, m := range spec.Mounts {
			if m.Type == "bind" {
				line("", "bind: %s on %s (%s)", m.Source, m.Destination, strings.Join(m.Options, ","))
			}
		}
	}
}

func given(is bool, text string) string {
	if is {
		return text
	}
	return ""
}
