// Package e2e tests lkx as its users run it: the lkx program, docker buildx on a
// real buildkitd, a registry, and guests in QEMU. "make test" prepares all that;
// without it, these tests are skipped.
package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// env is what "make test" prepared.
type env struct {
	lkx      string // the program
	images   string // OCI layout with the components
	registry string // host:port, a mirror of ghcr.io
}

// setup is the prepared environment, or the end of the test.
func setup(t *testing.T) env {
	t.Helper()
	if os.Getenv("LKX_TEST_E2E") == "" {
		t.Skip("LKX_TEST_E2E is not set: run make test, which starts what this needs")
	}
	e := env{
		lkx:      filepath.Join(os.Getenv("LKX_TEST_BIN"), "lkx"),
		images:   os.Getenv("LKX_TEST_IMAGES"),
		registry: os.Getenv("LKX_TEST_REGISTRY"),
	}
	for name, v := range map[string]string{"LKX_TEST_BIN": e.lkx, "LKX_TEST_IMAGES": e.images, "LKX_TEST_REGISTRY": e.registry} {
		if v == "" {
			t.Fatalf("%s is not set", name)
		}
	}
	return e
}

// ok runs a command, which must succeed, and returns what it printed.
func ok(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// fails runs a command, which must fail, and returns what it printed.
func fails(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := run(t, name, args...)
	if err == nil {
		t.Fatalf("%s %s: no error\n%s", name, strings.Join(args, " "), out)
	}
	return out
}

func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	var buf bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &buf, &buf
	err := cmd.Run()
	return buf.String(), err
}

// buildx is "docker buildx build" for a manifest, without its output option.
func buildx(manifest string, args ...string) []string {
	return append([]string{"buildx", "build", "--progress=plain", "-f", manifest, filepath.Dir(manifest)}, args...)
}

// sums are the sha256 of all files in dir, by name.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		out[e.Name()] = hex.EncodeToString(sum[:])
	}
	return out
}

// write makes a file in the test's own directory.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// contains tells of every text that is not in out.
func contains(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// inOrder tells of the first text that does not come after those before it.
func inOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, rest, found := strings.Cut(out, text)
		if !found {
			t.Errorf("%q is not, or not in its place, in order of %q", text, texts)
			return
		}
		out = rest
	}
}

// empty tells of files that should not be in dir.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s was left in %s", e.Name(), dir)
	}
}
