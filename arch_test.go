package lkx_test

import (
	"go/build"
	"io/fs"
	"os/exec"
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
	{"internal/judge", ""},
	{"internal/sparse", ""},
	{"internal/slots", ""},
	{"internal/program", ""},
	{"internal/schemagen", ""},
	{"internal/sizes", ""},
	{"tree", ""},
	{"tree/treetest", "tree"},
	{"runner", ""},
	{"runner/*", "runner"},
	{"exporters/*", "internal/sparse tree"},
	{"manifest", "internal/source"},
	{"oci", "manifest"},
	{"plan", "internal/source manifest oci"},
	{"llbgen", "internal/source plan"},
	{"assemble", "plan tree"},
	{"store", "assemble internal/slots plan"},
	{"formats", "exporters/* internal/sparse tree"},
	{"execop", "assemble formats internal/program plan tree"},
	{"frontend", "formats internal/source llbgen manifest plan"},
	{"engine", "assemble formats frontend internal/slots internal/source internal/sparse manifest plan store tree"},
	{"cmd/frontend", "execop frontend plan"},
	{"bench", ""},
	{"e2e", ""},
	{"cmd/lkx", "engine execop formats internal/program internal/source manifest plan runner runner/* store"},
}

// daemonFree is what must build and run without BuildKit.
var daemonFree = []string{"manifest", "oci", "plan", "tree", "assemble", "store", "exporters/...", "formats", "execop", "runner/..."}

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
		if dir != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(notOurs, d.Name())) {
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

// notOurs are directories with packages of other modules, or none.
var notOurs = []string{"components", "testdata", "tools"}

func TestDaemonFree(t *testing.T) {
	args := []string{"list", "-deps"}
	for _, pkg := range daemonFree {
		args = append(args, "./"+pkg)
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(dep, "github.com/moby/buildkit") {
			t.Errorf("a package that must do without BuildKit depends on %s; find it with go mod why", dep)
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
