package space

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLook fills a file system, and empties it again.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	enter := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread goes, and the namespace with it
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m")
		}
		enter <- err
		if err == nil {
			fill(t, dir)
		}
	}()
	err := <-enter
	<-done
	if os.IsPermission(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, dir string) {
	device, ok := inMemory(dir)
	if !ok {
		t.Error("a tmpfs is not in memory")
	}
	w := &watched{dir: dir, device: device}
	want := func(pattern string) {
		t.Helper()
		for _, p := range []string{pattern, "^$"} { // nothing is said twice
			if got := w.look(); !regexp.MustCompile(p).MatchString(got) {
				t.Errorf("said %q, want %q", got, p)
			}
		}
	}
	want("^$")
	big := filepath.Join(dir, "lib", "x", "deep")
	if err := os.MkdirAll(filepath.Dir(big), 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "small"), make([]byte, 100<<10), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(big, bytes.Repeat([]byte{1}, 3<<20), 0o644); err == nil {
		t.Error("the file system takes more than it should")
	}
	want(`is full, all 2 MiB: .* the most is in ` + dir + `/lib/x \(1 MiB\)`)
	if err := os.Truncate(big, 1<<20); err != nil {
		t.Error(err)
	}
	want(`is not full any more: 0 of 2 MiB|is not full any more: 1 of 2 MiB`)
}
