package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Change is one difference between two systems.
type Change struct {
	Part string `json:"part"`          // as a step's title: "services/sshd", "kernel"; "system" for none
	What string `json:"what"`          // "image", "etc/motd", "config.json process.capabilities.bounding", …
	Old  string `json:"old,omitempty"` // "" where there was none
	New  string `json:"new,omitempty"` // "" where there is none any more
}

// String is the change on one line.
func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("+ %s: %s", c.What, c.New)
	case c.New == "":
		return fmt.Sprintf("- %s: %s", c.What, c.Old)
	}
	return fmt.Sprintf("~ %s: %s → %s", c.What, c.Old, c.New)
}

// Diff is what b has otherwise than a, in the order of b's parts, and at the end
// what only a has.
func Diff(a, b *Plan) []Change {
	d := &differ{}
	d.part = "system"
	d.changed("platform", a.Platform, b.Platform)
	old, oldNames := parts(a)
	now, names := parts(b)
	for _, name := range names {
		d.part = name
		was, is := old[name], now[name]
		if was == nil {
			d.add("part", "", strings.Join(images(is), " "))
			continue
		}
		d.step(was, is)
	}
	for _, name := range oldNames {
		if d.part = name; now[name] == nil {
			d.add("part", strings.Join(images(old[name]), " "), "")
		}
	}
	return d.out
}

// parts are the steps of p by title; several of one title are numbered.
func parts(p *Plan) (map[string]*Step, []string) {
	out, count := map[string]*Step{}, map[string]int{}
	var names []string
	steps := beside(p.Boot, p.Code, p.Steps)
	for i := range steps {
		name := cmp.Or(steps[i].Title, steps[i].Name)
		if count[name]++; count[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, count[name])
		}
		out[name] = &steps[i]
		names = append(names, name)
	}
	return out, names
}

type differ struct {
	part string
	out  []Change
}

func (d *differ) add(what, old, now string) {
	if old == "" && now == "" {
		old = "empty" // a part that holds nothing but its place
	}
	d.out = append(d.out, Change{d.part, what, old, now})
}

func (d *differ) changed(what, old, now string) {
	if old != now {
		d.add(what, old, now)
	}
}

// images are what s is made of, pinned.
func images(s *Step) []string {
	var out []string
	for _, c := range s.Copies {
		if name := c.Image.Pinned(); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if out == nil {
		out = []string{s.Source}
	}
	return out
}

func (d *differ) step(a, b *Step) {
	d.changed("image", strings.Join(images(a), " "), strings.Join(images(b), " "))
	for i := range max(len(a.Copies), len(b.Copies)) {
		var from [2]string
		for j, s := range []*Step{a, b} {
			if i < len(s.Copies) {
				from[j] = s.Copies[i].From
			}
		}
		d.changed("from the image", from[0], from[1])
	}
	old, now := filesOf(a), filesOf(b)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if f, ok := old[name]; ok {
			d.file(name, f, now[name])
			continue
		}
		d.add(name, "", describe(now[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[name]; !ok {
			d.add(name, describe(old[name]), "")
		}
	}
}

// filesOf are the files of s by path; those that run a container are named
// alone, whatever its number.
func filesOf(s *Step) map[string]File {
	out := map[string]File{}
	for _, f := range slices.Concat(s.Defaults, s.Files) {
		name := f.Path
		if rest, ok := strings.CutPrefix(name, "containers/"); ok {
			if parts := strings.SplitN(rest, "/", 3); len(parts) == 3 {
				name = parts[2]
			}
		}
		out[name] = f
	}
	return out
}

// describe is f on one line.
func describe(f File) string {
	owner := ""
	if f.UID != 0 || f.GID != 0 {
		owner = fmt.Sprintf(" %d:%d", f.UID, f.GID)
	}
	mode := fmt.Sprintf("%04o", f.Mode&0o7777)
	switch {
	case f.Deep != nil && f.Deep.OwnModes:
		return "all of " + f.Source + owner
	case f.Deep != nil:
		return fmt.Sprintf("all of %s %s%s", f.Source, mode, owner)
	case f.Mode&0o170000 == typeSymlink:
		return "link to " + f.Link
	case f.Mode&0o170000 == typeDir:
		return "directory " + mode + owner
	case f.Source != "":
		return fmt.Sprintf("%s %s%s", f.Source, mode, owner)
	case f.Blob != nil:
		return fmt.Sprintf("%s %s%s", f.Blob.Digest, mode, owner)
	}
	return fmt.Sprintf("%d bytes %s%s", len(f.Contents), mode, owner)
}

func (d *differ) file(name string, a, b File) {
	if base := path.Base(name); base == "config.json" || base == "runtime.json" {
		var old, now any
		if json.Unmarshal([]byte(a.Contents), &old) == nil && json.Unmarshal([]byte(b.Contents), &now) == nil {
			d.json(base+" ", old, now)
			return
		}
	}
	d.changed(name, describe(a), describe(b))
	if a.Contents != b.Contents && describe(a) == describe(b) {
		d.add(name, quote(a.Contents), quote(b.Contents))
	}
}

// quote is text, or its beginning, on one line.
func quote(text string) string {
	const enough = 60
	if len(text) > enough {
		return fmt.Sprintf("%q…", text[:enough])
	}
	return fmt.Sprintf("%q", text)
}

// json compares two JSON values under a dotted name. Lists are compared as sets.
func (d *differ) json(at string, a, b any) {
	if oldMap, ok := a.(map[string]any); ok {
		if newMap, ok := b.(map[string]any); ok {
			all := maps.Clone(oldMap)
			maps.Copy(all, newMap)
			for _, key := range slices.Sorted(maps.Keys(all)) {
				d.json(at+key+".", oldMap[key], newMap[key])
			}
			return
		}
	}
	what := strings.TrimSuffix(at, ".")
	old, isList := a.([]any)
	now, alsoList := b.([]any)
	if (isList || a == nil) && (alsoList || b == nil) && (isList || alsoList) {
		was, is := compact(old), compact(now)
		for _, s := range is {
			if !slices.Contains(was, s) {
				d.add(what, "", s)
			}
		}
		for _, s := range was {
			if !slices.Contains(is, s) {
				d.add(what, s, "")
			}
		}
		return
	}
	values := compact([]any{a, b})
	for i, v := range []any{a, b} {
		if v == nil {
			values[i] = ""
		}
	}
	d.changed(what, values[0], values[1])
}

// compact are the items of a list on one line each.
func compact(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		if s, ok := v.(string); ok {
			out[i] = cmp.Or(s, `""`)
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // it was decoded from JSON
		}
		out[i] = string(text)
	}
	return out
}
