package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"
	"gopkg.in/yaml.v3"
)

// generated is what the source makes now, and the module's root.
func generated(t *testing.T) (files map[string][]byte, root string) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if files, err = generate(root); err != nil {
		t.Fatal(err)
	}
	return files, root
}

func TestFresh(t *testing.T) {
	files, root := generated(t)
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types in manifest say; run: go run ./internal/schemagen", name)
		}
	}
}

func compile(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaURL, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate holds a manifest against the schema.
func validate(s *jsonschema.Schema, text []byte) error {
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("not YAML: %w", err)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return s.Validate(value)
}

// TestAccepts validates every manifest in the module that is free of errors.
func TestAccepts(t *testing.T) {
	files, root := generated(t)
	s := compile(t, files["manifest/schema.json"])
	manifests := map[string][]byte{"every form": []byte(forEveryForm)}
	for _, pattern := range []string{"examples/*.yml", "e2e/testdata/*.yml"} {
		for name, text := range readAll(t, filepath.Join(root, pattern)) {
			manifests[name] = text
		}
	}
	for name, text := range readAll(t, filepath.Join(root, "manifest/testdata/*.txtar")) {
		for section, text := range faultless(text) {
			manifests[name+": "+section] = text
		}
	}
	for name, text := range manifests {
		if err := validate(s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func readAll(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s (%v)", pattern, err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		if out[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// faultless is the manifests of a test of package manifest, if it accepts them:
// it then says nothing of them, or what they make when merged.
func faultless(archive []byte) map[string][]byte {
	manifests := map[string][]byte{}
	accepted := false
	for _, f := range txtar.Parse(archive).Files {
		switch {
		case strings.HasSuffix(f.Name, ".yml"):
			manifests[f.Name] = f.Data
		case f.Name == "want" && len(bytes.TrimSpace(f.Data)) == 0, f.Name == "merged":
			accepted = true
		}
	}
	if !accepted {
		return nil
	}
	return manifests
}

const forEveryForm = `
include: [base.yml]
args: {TEXT: a, NUMBER: 80, NEEDED: }
arch:
  arm64: {kernel: {cmdline: console=ttyAMA0}, services: [{name: a, override: remove}]}
kernel: {image: a/k:1, tar: ""}
services:
  - &base
    name: a
    image: a/b:${TEXT}
    readonly: ${READONLY}
    uid: 4294967295
    gid: a
    additionalGids: [1, "2", b]
    oomScoreAdj: -1000
    restart: no
    seccomp: ${SECCOMP:-default}
    sysctl: {net.ipv4.ip_forward: "1"}
    capabilities.add: [CAP_CHOWN]
    healthcheck: {tcp: "80", interval: 1h30m, timeout: 1.5s, startPeriod: "${START}", retries: 3}
    resources: {blockIO: {weight: 10}, hugepageLimits: [{pageSize: 2MB, limit: 0}]}
    mounts: [{destination: /m, uidmappings: [{hostID: 0, containerID: 0, size: 1}]}]
  - <<: *base
    name: b
files:
  - {path: a, contents: "", mode: "4755"}
  - {path: b, override: remove}
`

func TestRejects(t *testing.T) {
	files, _ := generated(t)
	s := compile(t, files["manifest/schema.json"])
	for name, text := range map[string]string{
		"nothing":                              `null`,
		"unknown key":                          `onbot: []`,
		"unknown key inside":                   `kernel: {image: a, imag: b}`,
		"unknown key in arch":                  `arch: {arm64: {include: [a]}}`,
		"text for a list":                      `init: a/b:1`,
		"number for a text":                    `services: [{name: 1, image: a}]`,
		"number in a mapping":                  `services: [{name: a, image: a, sysctl: {a: 1}}]`,
		"text for a truth":                     `services: [{name: a, image: a, readonly: maybe}]`,
		"text for a number":                    `services: [{name: a, image: a, oomScoreAdj: high}]`,
		"fraction":                             `services: [{name: a, image: a, resources: {pids: {limit: 1.5}}}]`,
		"number out of range":                  `services: [{name: a, image: a, resources: {blockio: {weight: 70000}}}]`,
		"negative":                             `services: [{name: a, image: a, healthcheck: {retries: -1}}]`,
		"id out of range":                      `services: [{name: a, image: a, uid: 4294967296}]`,
		"list for an argument":                 `args: {A: [a]}`,
		"unknown restart":                      `services: [{name: a, image: a, restart: sometimes}]`,
		"unknown override":                     `files: [{path: a, override: nonsense}]`,
		"container has no name":                `services: [{image: a}]`,
		"container has no name, but overrides": `services: [{override: remove}]`,
		"container has no image":               `services: [{name: a}]`,
		"volume has no name":                   `volumes: [{image: a}]`,
		"file has no path":                     `files: [{contents: a}]`,
		"image without a name":                 `init: [""]`,
		"mode out of quotes":                   `files: [{path: a, contents: a, mode: 0644}]`,
		"mode that is not octal":               `files: [{path: a, contents: a, mode: "0999"}]`,
		"duration without a unit":              `services: [{name: a, image: a, healthcheck: {interval: 10}}]`,
		"duration in words":                    `services: [{name: a, image: a, healthcheck: {interval: 3 sec}}]`,
	} {
		if validate(s, []byte(text)) == nil {
			t.Errorf("%s: %s is accepted", name, text)
		}
	}
}

// TestSourceFaults tells that types which the pages could not explain are refused.
func TestSourceFaults(t *testing.T) {
	for source, want := range map[string]string{
		"type Document struct{}": "type Document has no comment",
		"// Document.\ntype Document struct {\n\tA string `yaml:\"a\"`\n}":                    "the field has no comment",
		"// Document.\ntype Document struct {\n\t// A.\n\tA any `yaml:\"a\"`\n}":              "there is no type any",
		"// Document.\ntype Document struct {\n\t// A.\n\tA string `yaml:\"a,omitempty\"`\n}": `unknown option "omitempty"`,
		"// Document.\ntype Document struct {\n\t// A.\n\tA bool `yaml:\"a\" enum:\"b\"`\n}":  "only a string has an enum",
		"type Other struct{}": "there is no type Document",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n\n"+source+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readModel(dir, rootType); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v, not %q", source, err, want)
		}
	}
}
