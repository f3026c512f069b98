package mnt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    Options
	}{
		{nil, Options{}},
		{[]string{"remount", "private"}, Options{Flags: unix.MS_REMOUNT, Propagation: unix.MS_PRIVATE}},
		{[]string{"rbind", "rshared", "ro"}, Options{Flags: unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY, Propagation: unix.MS_SHARED | unix.MS_REC}},
		{[]string{"ro", "rw"}, Options{Clear: unix.MS_RDONLY}},
		{[]string{"nosuid", "mode=755", "size=10%"}, Options{Flags: unix.MS_NOSUID, Data: "mode=755,size=10%"}},
		{[]string{"defaults"}, Options{}},
	} {
		if got := Parse(c.options); got != c.want {
			t.Errorf("Parse(%q) = %+v, want %+v", c.options, got, c.want)
		}
	}
}

func TestPoints(t *testing.T) {
	text := "22 1 0:2 / / rw shared:1 - rootfs rootfs rw\n" +
		"23 22 0:21 / /with\\040blank ro,nosuid - tmpfs tmpfs rw\n"
	if got, want := parsePoints(text), []string{"/", "/with blank"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValue(t *testing.T) {
	options := []string{"lowerdir=/a", "upperdir=/b=c"}
	if got := Value(options, "upperdir"); got != "/b=c" {
		t.Errorf("got %q, want /b=c", got)
	}
	if got := Value(options, "workdir"); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

func TestLayers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	lower, upper := filepath.Join(dir, "lower"), filepath.Join(dir, "tmp", "upper")
	m := Mount{Type: "overlay", Options: []string{"lowerdir=" + lower + ":/other", "upperdir=" + upper, "workdir=" + filepath.Join(dir, "tmp", "work")}}
	if err := errors.Join(os.Mkdir(lower, 0), os.Chown(lower, 7, 8), os.Chmod(lower, os.ModeSticky|0o770)); err != nil {
		t.Fatal(err)
	}
	if err := m.layers(); err != nil {
		t.Fatal(err)
	}
	look := func() string {
		info, err := os.Stat(upper)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		return fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
	}
	if got := look(); got != "dtrwxrwx--- 7:8" {
		t.Errorf("the upper directory is %s", got)
	}
	// What is there already has been somebody's.
	if err := errors.Join(os.Chmod(upper, 0o700), m.layers()); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != "drwx------ 7:8" {
		t.Errorf("the upper directory became %s", got)
	}
}
