package formats

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/store"
	"github.com/lkx-os/lkx/tree"
)

// component is the root file system of one of the project's own images, which
// LKX_TEST_IMAGES holds as a layout.
func component(t *testing.T, name, arch string) tree.Tree {
	t.Helper()
	layout := os.Getenv("LKX_TEST_IMAGES")
	if layout == "" {
		if os.Getenv("LKX_TEST_E2E") != "" {
			t.Fatal("LKX_TEST_IMAGES is not set")
		}
		t.Skip("no component images: LKX_TEST_IMAGES is not set")
	}
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "store"), store.Options{Layouts: []string{layout}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	platform := "linux/" + arch
	img, err := s.Resolve(t.Context(), "ghcr.io/lkx-os/"+name+":0.1", platform)
	if err != nil {
		t.Fatal(err)
	}
	layers := &assemble.Layers{Fetcher: s, Platform: platform}
	t.Cleanup(func() { layers.Close() })
	step := plan.Step{Name: "kernel", Copies: []plan.Copy{{Image: img}}}
	out, err := assemble.Step(t.Context(), &step, assemble.Sources{Images: layers})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
