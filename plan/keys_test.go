package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
)

// keyRow is a line of testdata/keys.table.
type keyRow struct{ path, value, effect string }

func keyRows(t *testing.T) []keyRow {
	t.Helper()
	text, err := os.ReadFile("testdata/keys.table")
	if err != nil {
		t.Fatal(err)
	}
	var out []keyRow
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.SplitN(line, " | ", 3)
		if len(parts) != 3 {
			t.Fatalf("not a row: %s", line)
		}
		out = append(out, keyRow{parts[0], parts[1], parts[2]})
	}
	return out
}

// TestKeys goes through every key there is: it is accepted and has its effect in
// the plan, and a value of a wrong type is an error that points at it.
func TestKeys(t *testing.T) {
	rows := keyRows(t)
	for _, r := range rows {
		t.Run(r.path, func(t *testing.T) {
			p, err := planOf(t, document(r.path, r.value))
			if err != nil {
				t.Fatalf("%v in:\n%s", err, document(r.path, r.value))
			}
			if want := squeeze(r.effect); r.effect != "-" && !strings.Contains(squeeze(show(p)), want) {
				t.Errorf("no %s in:\n%s", r.effect, show(p))
			}
			wrong(t, r.path)
		})
	}
	rowsHaveAll(t, rows)
}

// squeeze is s without blanks and the bars before contents.
func squeeze(s string) string {
	return strings.NewReplacer(" ", "", "\n", "", "|", "").Replace(s)
}

// bad is of a type that no key has.
const bad = "[[[[[]]]]]"

// wrong puts a value of a wrong type where path is, and looks where the error points.
func wrong(t *testing.T, path string) {
	t.Helper()
	text := document(path, bad)
	_, err := planOf(t, text)
	var list source.Errors
	if !errors.As(err, &list) {
		t.Fatalf("no error for the wrong type, but %v", err)
	}
	for _, e := range list {
		line := e.Pos.File.Line(e.Pos.Line)
		if strings.Contains(e.Msg, "found a list") && strings.HasPrefix(line[e.Pos.Col-1:], "[") {
			return
		}
	}
	t.Errorf("no error points at the wrong type: %v", err)
}

// document is a manifest with value at path, and what else it needs.
func document(path, value string) string {
	first, rest, _ := strings.Cut(path, "/")
	section := strings.TrimSuffix(first, "[]")
	whole, given := strings.CutPrefix(value, "=")
	fixed := map[string]string{
		"services": "{name: other, image: \"x/app:1\"}", "volumes": "{name: first}", "files": "{path: etc/first, contents: a}",
	}
	needs := map[string]string{
		"services": "image: \"x/app:1\"", "onboot": "image: \"x/app:1\"", "onshutdown": "image: \"x/app:1\"",
		"files": "contents: a", "volumes": "", "kernel": "", "trust": "",
	}
	if !given {
		whole = nest(rest, value)
	}
	if strings.HasPrefix(first, "kernel") || section == "trust" {
		return fmt.Sprintf("%s: %s\n", section, whole)
	}
	if rest == "" {
		return nest(first, value)[1:len(nest(first, value))-1] + "\n"
	}
	item := strings.TrimSuffix(strings.TrimPrefix(whole, "{"), "}")
	if section != "files" && !strings.Contains(item, "name: ") || strings.Contains(item, "name: ") && section == "services" && !strings.HasPrefix(item, "name: ") {
		if section == "services" || section == "volumes" || section == "onboot" || section == "onshutdown" {
			item = "name: it, " + item
		}
	}
	if n := needs[section]; n != "" && !strings.Contains(" "+item, " "+n[:strings.Index(n, ":")+1]) && section != "files" && !strings.Contains(item, "override:") {
		item += ", " + n
	}
	list := []string{item}
	list[0] = "{" + list[0] + "}"
	if f := fixed[section]; f != "" {
		list = append([]string{f}, list...)
	}
	extra := ""
	if section != "services" {
		extra = "services: [{name: other, image: \"x/app:1\"}]\n"
	}
	return fmt.Sprintf("%s: [%s]\n%s", section, strings.Join(list, ", "), extra)
}

// nest is value under the keys of path, in YAML's flow style.
func nest(path, value string) string {
	keys := strings.Split(path, "/")
	for _, k := range slices.Backward(keys) {
		for strings.HasSuffix(k, "[]") {
			k, value = strings.TrimSuffix(k, "[]"), "["+value+"]"
		}
		value = "{" + k + ": " + value + "}"
	}
	return value
}

func planOf(t *testing.T, text string) (*plan.Plan, error) {
	t.Helper()
	m, err := manifest.Parse(manifest.Options{Platform: "linux/amd64", Load: func(name string) (*source.File, error) {
		return &source.File{Name: name, Data: []byte("files: [{path: etc/from-part, contents: x}]")}, nil
	}}, &source.File{Name: "in.yml", Data: []byte(text)})
	if err != nil {
		return nil, err
	}
	return plan.New(t.Context(), m, plan.Options{Platform: "linux/amd64", Bootcode: true}, keyImages, fakeFiles{})
}

var keyImages = func() fakeImages {
	zero := "sha256:" + strings.Repeat("0", 64)
	return fakeImages{
		"docker.io/x/app:1":                 []byte(`{"os":"linux","architecture":"amd64","config":{"Cmd":["/run"]}}`),
		"docker.io/x/kernel:1":              []byte(`{}`),
		plan.DefaultBootcode:                []byte(`{}`),
		"pin docker.io/x/multi:1":           []byte(`"` + zero + `"`),
		zero:                                []byte(`{"manifests":[{"digest":"sha256:` + strings.Repeat("1", 64) + `","platform":{"os":"linux","architecture":"arm64"}}]}`),
		"sha256:" + strings.Repeat("1", 64): []byte(`{"config":{"digest":"sha256:` + strings.Repeat("2", 64) + `"},"layers":[]}`),
	}
}()

// rowsHaveAll fails for a field of the manifest's types that no row is about.
// What several keys share (a container's, a list of rates) needs one of them.
func rowsHaveAll(t *testing.T, rows []keyRow) {
	t.Helper()
	covered := map[string]bool{}
	for _, r := range rows {
		mark(reflect.TypeFor[manifest.Document](), strings.Split(strings.ReplaceAll(r.path, "[]", ""), "/"), covered)
	}
	all := map[string]bool{}
	collect(reflect.TypeFor[manifest.Document](), all, map[reflect.Type]bool{})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !covered[name] {
			t.Errorf("no row of keys.table is about %s", name)
		}
	}
}

// element is the struct that t is, points to or is a list of.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// eachKey calls f for the keys of struct t: all spellings, and the field's type.
func eachKey(t reflect.Type, f func(owner reflect.Type, spellings []string, typ reflect.Type)) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag, ok := field.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if opts == "inline" {
			eachKey(field.Type, f)
			continue
		}
		spellings := []string{name}
		if alias, ok := strings.CutPrefix(opts, "alias="); ok {
			spellings = append(spellings, alias)
		}
		f(t, spellings, field.Type)
	}
}

func mark(t reflect.Type, path []string, covered map[string]bool) {
	eachKey(t, func(owner reflect.Type, spellings []string, typ reflect.Type) {
		if !slices.Contains(spellings, path[0]) {
			return
		}
		covered[owner.Name()+"."+path[0]] = true
		if e := element(typ); len(path) > 1 && e.Kind() == reflect.Struct {
			mark(e, path[1:], covered)
		}
	})
}

func collect(t reflect.Type, all map[string]bool, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	eachKey(t, func(owner reflect.Type, spellings []string, typ reflect.Type) {
		for _, s := range spellings {
			all[owner.Name()+"."+s] = true
		}
		if e := element(typ); e.Kind() == reflect.Struct {
			collect(e, all, seen)
		}
	})
}
