package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestAll holds that each image that is built is in the table. How large it is
// there is not compared: that moves with Debian's packages.
func TestAll(t *testing.T) {
	group := regexp.MustCompile(`(?s)group "components" \{\s*targets = \[(.*?)\]`).FindStringSubmatch(text(t, "../../docker-bake.hcl"))
	if group == nil {
		t.Fatal("docker-bake.hcl has no list of all components")
	}
	built := []string{"lkx"}
	for _, m := range regexp.MustCompile(`"(.*?)"`).FindAllStringSubmatch(group[1], -1) {
		built = append(built, m[1])
	}
	slices.Sort(built)
	_, rest, _ := strings.Cut(text(t, "../../docs/components.md"), begin)
	rows, _, _ := strings.Cut(rest, end)
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(.*?)` \\| [0-9.]+ MB \\| [0-9.]+ MB \\|$").FindAllStringSubmatch(rows, -1) {
		listed = append(listed, m[1])
	}
	if diff := cmp.Diff(built, listed); diff != "" {
		t.Errorf("the table in docs/components.md has not the images of docker-bake.hcl; run make sizes:\n%s", diff)
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	out, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// put adds a blob to a layout.
func put(t *testing.T, layout string, v any) ocispec.Descriptor {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{Digest: digest.FromBytes(text), Size: int64(len(text))}
	if err := os.WriteFile(blob(layout, d), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSizes(t *testing.T) {
	layout := t.TempDir()
	if err := os.MkdirAll(filepath.Join(layout, "blobs/sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	of := func(name string, sizes map[string]int64) ocispec.Descriptor {
		var index ocispec.Index
		for arch, size := range sizes {
			d := put(t, layout, ocispec.Manifest{Layers: []ocispec.Descriptor{{Size: size}, {Size: 1}}})
			d.Platform = &ocispec.Platform{Architecture: arch}
			index.Manifests = append(index.Manifests, d)
		}
		d := put(t, layout, index)
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
		return d
	}
	index := func(list ...ocispec.Descriptor) {
		text, err := json.Marshal(ocispec.Index{Manifests: list})
		if err == nil {
			err = os.WriteFile(filepath.Join(layout, "index.json"), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	page := filepath.Join(layout, "page.md")
	if err := os.WriteFile(page, []byte("Before.\n"+begin+"old\n"+end+"After.\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	b := of("b", map[string]int64{"amd64": 1_249_999, "arm64": 49_998, "unknown": 5})
	a := of("a", map[string]int64{"amd64": 1e8, "arm64": 2e6})
	index(b, a)
	if err := run([]string{layout, page}); err != nil {
		t.Fatal(err)
	}
	want := "Before.\n" + begin + "\n| image | amd64 | arm64 |\n|---|---:|---:|\n| `a` | 100.0 MB | 2.0 MB |\n| `b` | 1.2 MB | 0.0 MB |\n\n" + end + "After.\n"
	if diff := cmp.Diff(want, text(t, page)); diff != "" {
		t.Error(diff)
	}

	index(of("half", map[string]int64{"amd64": 1}))
	if err := run([]string{layout, page}); err == nil || !strings.Contains(err.Error(), "hack/images.sh half") {
		t.Errorf("an image for one architecture: %v", err)
	}
	index(b)
	if err := os.WriteFile(page, []byte("Nothing.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{layout, page}); err == nil {
		t.Error("a page without a table gave no error")
	}
}
