package setup

import (
	"os"
	"path/filepath"
	"reflect"
	threads "runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

func TestVolume(t *testing.T) {
	dir := t.TempDir()
	lower, tmp, merged := filepath.Join(dir, "lower"), filepath.Join(dir, "tmp"), filepath.Join(dir, "merged")
	want := []mnt.Mount{{Destination: merged, Source: lower, Options: []string{"bind", "ro"}}}
	if got := volume(dir); !reflect.DeepEqual(got, want) {
		t.Errorf("a read-only volume is mounted so: %+v, want %+v", got, want)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	want = []mnt.Mount{
		{Destination: tmp, Type: "tmpfs", Source: "tmpfs"},
		{Destination: merged, Type: "overlay", Source: "overlay", Options: []string{
			"lowerdir=" + lower, "upperdir=" + tmp + "/upper", "workdir=" + tmp + "/work",
		}},
	}
	if got := volume(dir); !reflect.DeepEqual(got, want) {
		t.Errorf("a writable volume is mounted so: %+v, want %+v", got, want)
	}
}

// TestVolumesReadOnly mounts a volume for real, in a namespace of its own.
func TestVolumesReadOnly(t *testing.T) {
	dir := t.TempDir()
	lower, merged := filepath.Join(dir, "data", "lower"), filepath.Join(dir, "data", "merged")
	for _, d := range []string{lower, merged} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(lower, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	var enter, mount, read, write error
	done := make(chan struct{})
	go func() {
		defer close(done)
		threads.LockOSThread() // for good: the thread goes, and the namespace with it
		if enter = unix.Unshare(unix.CLONE_NEWNS); enter != nil {
			return
		}
		if enter = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); enter != nil {
			return
		}
		mount = Volumes(dir)
		_, read = os.Stat(filepath.Join(merged, "file"))
		write = os.WriteFile(filepath.Join(merged, "new"), nil, 0o644)
	}()
	<-done
	if os.IsPermission(enter) {
		t.Skip(enter)
	}
	if enter != nil || mount != nil || read != nil {
		t.Fatal(enter, mount, read)
	}
	if pe, ok := write.(*os.PathError); !ok || pe.Err != unix.EROFS {
		t.Errorf("writing to a read-only volume gave %v", write)
	}
	if err := os.WriteFile(filepath.Join(lower, "new"), nil, 0o644); err != nil {
		t.Errorf("what is below became read-only: %v", err)
	}
}
