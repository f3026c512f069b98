package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNote(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "web")
	n, err := Open(dir)
	if err != nil || n.Get().State != Waiting {
		t.Fatal(n, err)
	}
	if r, err := Read(dir); err != nil || r != (Record{State: Waiting}) {
		t.Errorf("before anything was noted: %+v, %v", r, err)
	}
	first, err := n.Change(func(r *Record) { r.State, r.PID = Running, 7 })
	if err != nil || first.Since == 0 {
		t.Errorf("%+v, %v", first, err)
	}
	again, err := n.Change(func(r *Record) { r.State, r.Ready = Running, true })
	if err != nil || again.Since != first.Since {
		t.Errorf("the same state began at %v, then at %v, %v", first.Since, again.Since, err)
	}
	// Another process goes on with it.
	n, err = Open(dir)
	if err != nil || n.Get() != again {
		t.Errorf("read %+v, want %+v, %v", n.Get(), again, err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestBrokenRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Read(dir); err == nil || !strings.Contains(err.Error(), "reading a record") || r.State != Waiting {
		t.Errorf("%+v, %v", r, err)
	}
}
