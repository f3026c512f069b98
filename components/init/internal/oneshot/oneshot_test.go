package oneshot

import (
	"os"
	"path/filepath"
	"testing"
)

func TestVolume(t *testing.T) {
	dir := t.TempDir()
	if got := volume(dir); len(got) != 1 || got[0].Destination != filepath.Join(dir, "merged") || got[0].Options[1] != "ro" {
		t.Errorf("a read-only volume is mounted so: %+v", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := volume(dir); len(got) != 2 || got[1].Type != "overlay" {
		t.Errorf("a writable volume is mounted so: %+v", got)
	}
}
