package setup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	threads "runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/mnt"
	"github.com/lkx-os/lkx/components/internal/uptime"
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

func TestEnded(t *testing.T) {
	for want, err := range map[string]error{
		"finished: status 0": nil,
		"failed: status 3":   &ExitError{"000-a", 3},
		"failed: 000-a: x":   errors.New("000-a: x"),
	} {
		r := record.Record{State: record.Running, Cgroup: "/onboot/000-a", Since: uptime.Now() - time.Second}
		ended(err)(&r)
		if got := string(r.State) + ": " + r.LastExit; got != want || r.Took < time.Second || r.Cgroup != "" {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
}

// TestKilledInTheEnd has a runtime that gets no time after SIGTERM: 0 must not
// mean for ever.
func TestKilledInTheEnd(t *testing.T) {
	cmd := (&Runner{}).command(t.Context(), &bundle.Bundle{}, "/", nil)
	if cmd.WaitDelay <= 0 {
		t.Errorf("it is waited for %v", cmd.WaitDelay)
	}
}
