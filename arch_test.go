package lkx_test

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lkx-os/lkx/"

// arrows is the whole architecture: each package and all it may import from
// this module. A line may only name packages from lines above it, so the list
// cannot hold a cycle. "exporters/*" is every package under exporters.
var arrows = []struct{ pkg, may string }{
	{".", ""},
	{"internal/source", ""},
	{"internal/golden", ""},
	{"tree", ""},
	{"runner", ""},
	{"runner/*", "runner"},
	{"exporters/*", "tree"},
	{"manifest", "internal/source"},
	{"oci", "manifest"},
	{"plan", "internal/source manifest oci"},
	{"llbgen", "plan"},
	{"assemble", "plan tree"},
	{"formats", "exporters/* tree"},
	{"frontend", "formats internal/source llbgen manifest plan"},
	{"engine", "assemble formats frontend internal/source manifest plan"},
	{"cmd/frontend", "formats frontend tree"},
	{"cmd/lkx", "engine formats internal/source manifest plan runner/*"},
}

func TestArrows(t *testing.T) {
	may := map[string][]string{}
	for _, a := range arrows {
		for _, dep := range strings.Fields(a.may) {
			if _, ok := may[dep]; !ok {
				t.Fatalf("%s may import %s, which is not above it", a.pkg, dep)
			}
		}
		may[a.pkg] = strings.Fields(a.may)
	}
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == "testdata" || d.Name() == "components" {
			return filepath.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if _, none := err.(*build.NoGoError); none {
			return nil
		} else if err != nil {
			return err
		}
		row := match(may, filepath.ToSlash(dir))
		if row == "" {
			t.Errorf("%s is not in arrows", dir)
		}
		seen[row] = true
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module)
			if ours && !slices.Contains(may[row], match(may, dep)) {
				t.Errorf("%s imports %s; arrows allow it only: %v", dir, dep, may[row])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range may {
		if !seen[pkg] {
			t.Errorf("arrows names %s, which does not exist", pkg)
		}
	}
}

// match is the row of may that covers pkg, or "".
func match(may map[string][]string, pkg string) string {
	if _, ok := may[pkg]; ok {
		return pkg
	}
	star := filepath.ToSlash(filepath.Dir(pkg)) + "/*"
	if _, ok := may[star]; ok {
		return star
	}
	return ""
}
