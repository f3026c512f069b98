// Package golden compares what a test made with a section of its txtar file,
// or, with -update, writes it there.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the tests make into their golden files")

// Each runs test on every testdata/*.txtar of the package, as a subtest. test is
// given the file's sections by name, and returns what it made: each section of
// that name must be equal, and with -update becomes so.
func Each(t *testing.T, pattern string, test func(t *testing.T, in map[string]string) map[string]string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in testdata (%v)", pattern, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]string{}
			for _, f := range ar.Files {
				in[f.Name] = string(f.Data)
			}
			compare(t, name, ar, test(t, in))
		})
	}
}

func compare(t *testing.T, name string, ar *txtar.Archive, got map[string]string) {
	t.Helper()
	old := txtar.Format(ar)
	for section, text := range got {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		i := 0
		for i < len(ar.Files) && ar.Files[i].Name != section {
			i++
		}
		if i == len(ar.Files) {
			ar.Files = append(ar.Files, txtar.File{Name: section})
		}
		if d := cmp.Diff(string(ar.Files[i].Data), text); d != "" && !*update {
			t.Errorf("%s: section %s (-want +got):\n%s", name, section, d)
		}
		ar.Files[i].Data = []byte(text)
	}
	if now := txtar.Format(ar); *update && !bytes.Equal(old, now) {
		if err := os.WriteFile(name, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
