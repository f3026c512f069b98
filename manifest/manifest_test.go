package manifest

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/lkx-os/lkx/internal/golden"
	"github.com/lkx-os/lkx/internal/source"
)

// TestDiagnostics holds the exact text of errors and warnings. Sections: in.yml,
// other files that it includes, "args" with NAME=VALUE lines, "platform". Where
// there is a section "merged", it holds what the files say together.
func TestDiagnostics(t *testing.T) {
	golden.Each(t, "*.txtar", func(t *testing.T, in map[string]string) map[string]string {
		o := Options{Platform: "linux/amd64", Args: map[string]string{}, Load: func(name string) (*source.File, error) {
			text, ok := in[name]
			if !ok {
				return nil, fmt.Errorf("there is no file %q", name)
			}
			return &source.File{Name: name, Dir: strings.TrimPrefix(path.Dir(name), "."), Data: []byte(text)}, nil
		}}
		if p := strings.TrimSpace(in["platform"]); p != "" {
			o.Platform = p
		}
		for line := range strings.Lines(in["args"]) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			o.Args[name] = value
		}
		files := []*source.File{{Name: "in.yml", Data: []byte(in["in.yml"])}}
		if second, ok := in["second.yml"]; ok {
			files = append(files, &source.File{Name: "second.yml", Data: []byte(second)})
		}
		var out strings.Builder
		m, err := Parse(o, files...)
		var list source.Errors
		switch {
		case err == nil:
			source.Print(&out, m.Warnings)
		case errors.As(err, &list):
			source.Print(&out, list)
		default:
			t.Fatalf("the error is a %T", err)
		}
		got := map[string]string{"want": out.String()}
		if _, ok := in["merged"]; ok && err == nil {
			if got["merged"], err = m.Metadata("yaml"); err != nil {
				t.Fatal(err)
			}
		}
		return got
	})
}

// TestAccepted parses a manifest with every key, and looks at what became of it.
func TestAccepted(t *testing.T) {
	m, err := Parse(Options{}, &source.File{Name: "in.yml", Data: []byte(full)})
	if err != nil {
		t.Fatal(err)
	}
	s := m.Services[0]
	for what, ok := range map[string]bool{
		"reference":      m.Kernel.Image.Name == "docker.io/library/kernel:latest" && m.Init[0].Name == "docker.io/a/b:1",
		"merge key":      m.Services[2].Cwd == "/own" && m.Services[2].Hostname == "base",
		"alias":          len(m.Services[2].Env) == 1 && m.Services[2].Env[0] == "A=b",
		"empty list":     s.Binds != nil && len(s.Binds) == 0,
		"left out":       s.Tmpfs == nil && s.Readonly == nil,
		"camelCase":      *s.Resources.Memory.DisableOOMKiller && *s.Resources.CPU.RealtimeRuntime == 7 && *s.Resources.Network.ClassID == 9,
		"mappings":       s.UIDMappings[0] == IDMapping{HostID: 1000, ContainerID: 1, Size: 2},
		"id by name":     s.UID.Name == "one" && s.GID.Num == 5 && s.GID.Name == "",
		"mode":           *m.Files[0].Mode == 0o4755,
		"empty contents": m.Files[0].Contents != nil && *m.Files[0].Contents == "",
		"runtime":        s.Runtime.BindNS.Net == "/run/netns/x" && s.Runtime.Interfaces[0].CreateInRoot,
		"blockIO":        *s.Resources.BlockIO.LeafWeight == 3,
		"no tar":         m.Kernel.Tar != nil && *m.Kernel.Tar == "",
	} {
		if !ok {
			t.Errorf("%s is wrong", what)
		}
	}
}

const full = `
kernel: {image: kernel, cmdline: "a b", binary: boot/k, tar: "", ucode: u.cpio}
init: ["a/b:1"]
services:
  - name: one
    image: x:1
    binds: []
    uid: one
    gid: "5"
    uidMappings: [{hostID: 1000, containerID: 1, size: 2}]
    resources:
      memory: {limit: 1, disableOOMKiller: true}
      cpu: {realtimeRuntime: 7}
      network: {classID: 9}
      blockIO: {leafWeight: 3}
    runtime:
      bindNS: {net: /run/netns/x}
      interfaces: [{name: wg0, add: wireguard, createInRoot: true}]
  - &base
    name: two
    image: x:1
    hostname: base
    cwd: /base
    env: &env [A=b]
  - <<: *base
    name: three
    cwd: /own
    env: *env
files:
  - {path: a, contents: "", mode: "4755"}
`

// FuzzParse looks for panics, and for errors that point outside the text.
func FuzzParse(f *testing.F) {
	f.Add(full)
	for _, pattern := range []string{"testdata/*.txtar", "../examples/*.yml"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
			for _, section := range txtar.Parse(text).Files {
				f.Add(string(section.Data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse(Options{Platform: "linux/amd64"}, &source.File{Name: "in.yml", Data: []byte(text)})
		inside(t, err)
	})
}

// inside tells of errors that point outside their file.
func inside(t *testing.T, err error) {
	if err == nil {
		return
	}
	var list source.Errors
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("the error is %#v", err)
	}
	for _, e := range list {
		if line := e.Pos.File.Line(e.Pos.Line); e.Pos.Line < 1 || e.Pos.Line > e.Pos.File.Lines() || e.Pos.Col < 1 || e.Pos.Col > len(line)+1 {
			t.Errorf("%v points outside the text", e)
		}
	}
}

// FuzzMerge merges two texts, the first including the second as well, and an
// argument. What they say together must be a manifest by itself.
func FuzzMerge(f *testing.F) {
	f.Add(full, "services: [{name: one, override: merge, cwd: \"${A:-/x}\"}]", "x")
	f.Add("include: [b.yml]\nargs: {A: }", "include: [a.yml]\nfiles: [{path: a, contents: \"${A}\"}]", "$${A}")
	f.Add("arch: {amd64: {services: [{name: a, override: remove}]}}", "services: [{name: a, image: b, binds.add: [\"/a:/b\"]}]", "")
	f.Fuzz(func(t *testing.T, a, b, value string) {
		load := func(name string) (*source.File, error) {
			if name != "b.yml" {
				return nil, errors.New("not there")
			}
			return &source.File{Name: name, Data: []byte(b)}, nil
		}
		o := Options{Platform: "linux/amd64", Args: map[string]string{"A": value}, Load: load}
		m, err := Parse(o, &source.File{Name: "b.yml", Data: []byte(b)}, &source.File{Name: "a.yml", Data: []byte(a)})
		inside(t, err)
		if err != nil {
			return
		}
		if _, err := m.Metadata("yaml"); err != nil && !strings.Contains(err.Error(), "unmarshal") {
			t.Errorf("what the files say together cannot be written: %v", err)
		}
	})
}
