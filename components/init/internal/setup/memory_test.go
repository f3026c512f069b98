package setup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestMemory(t *testing.T) {
	root := t.TempDir()
	if err := memory(root, root); err != nil {
		t.Errorf("without huge pages: %v", err)
	}
	pages, free := filepath.Join(root, "kernel/mm/transparent_hugepage/enabled"), filepath.Join(root, "vm/min_free_kbytes")
	for name, text := range map[string]string{pages: "[always] madvise never\n", free: "45056\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := memory(root, root); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{pages: "madvise", free: "45056"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
		}
	}
	if err := os.Remove(free); err != nil {
		t.Fatal(err)
	}
	if err := memory(root, root); err == nil {
		t.Error("no error for a file that is missing")
	}
	if err := Memory(cmdline.Parse("transparent_hugepage=always")); err != nil {
		t.Errorf("left alone: %v", err)
	}
}
