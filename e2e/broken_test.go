package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// atLeast is how many broken manifests there have to be.
const atLeast = 20

// TestBroken shows the broken manifests of package manifest's golden files to
// lkx and to buildx: both say exactly what stands there.
func TestBroken(t *testing.T) {
	e := setup(t)
	names, err := filepath.Glob("../manifest/testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir, want, simple := t.TempDir(), "", true
		for _, f := range ar.Files {
			switch f.Name {
			case "want":
				want = strings.TrimSuffix(string(f.Data), "\n")
			case "second.yml", "args", "platform", "merged":
				simple = false
			default:
				path := filepath.Join(dir, f.Name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.Data, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !simple || exec.Command(e.lkx, "check", "--platform", "linux/amd64", filepath.Join(dir, "in.yml")).Run() == nil {
			continue
		}
		broken++
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			check := exec.Command(e.lkx, "check", "--platform", "linux/amd64", "in.yml")
			check.Dir = dir
			text, _ := check.CombinedOutput()
			if got := strings.TrimSuffix(string(text), "\n"); got != want {
				t.Errorf("lkx says:\n%s\nwant:\n%s", got, want)
			}
			out := fails(t, "docker", buildx(filepath.Join(dir, "in.yml"), "--platform", "linux/amd64",
				"--build-arg", "BUILDKIT_SYNTAX=ghcr.io/lkx-os/lkx:0.1", "--output", "type=cacheonly")...)
			if !strings.Contains(out, want) {
				t.Errorf("buildx says:\n%s\nwant in it:\n%s", out, want)
			}
		})
	}
	if broken < atLeast {
		t.Errorf("%d broken manifests, want %d", broken, atLeast)
	}
	t.Logf("%d broken manifests", broken)
}
