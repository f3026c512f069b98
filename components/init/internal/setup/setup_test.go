package setup

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestXattrs(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	file := filepath.Join(root, "a")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lsetxattr(file, "user.try", []byte("x"), 0); err == unix.ENOTSUP {
		t.Skip("the file system of the test has no extended attributes")
	}
	list := filepath.Join(dir, "xattrs-0.json")
	// "AQAAAg==" is 01 00 00 02.
	if err := os.WriteFile(list, []byte(`[{"path":"a","xattrs":{"user.test":"AQAAAg=="}},{"path":"missing","xattrs":{"user.test":"AA=="}}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := applyXattrs(root, dir); err == nil {
		t.Error("no error for a file that is missing")
	}
	buf := make([]byte, 16)
	n, err := unix.Lgetxattr(file, "user.test", buf)
	if err != nil || string(buf[:n]) != "\x01\x00\x00\x02" {
		t.Errorf("the attribute is %q, %v", buf[:max(n, 0)], err)
	}
	if _, err := os.Stat(list); !os.IsNotExist(err) {
		t.Error("the list is still there")
	}
	if err := os.WriteFile(list, []byte("["), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := applyXattrs(root, dir); err == nil {
		t.Error("no error for a broken list")
	}
}

func TestNameAfter(t *testing.T) {
	lo := net.Interface{Name: "lo"}
	dummy := net.Interface{Name: "dummy0", HardwareAddr: make(net.HardwareAddr, 6)}
	card := net.Interface{Name: "eth0", HardwareAddr: net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}}
	for want, list := range map[string][]net.Interface{
		"lkx":              {lo, dummy},
		"lkx-525400123456": {lo, dummy, card},
	} {
		if got := nameAfter(list); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestControllers(t *testing.T) {
	root := t.TempDir()
	if err := controllers(root); err == nil {
		t.Error("no error without cgroups")
	}
	for name, text := range map[string]string{"cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": ""} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := controllers(root); err != nil {
		t.Error(err)
	}
	// Each is written by itself, so in a plain file the last one stands first.
	if text, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control")); err != nil || string(text[:5]) != "+pids" {
		t.Errorf("the control file has %q, %v", text, err)
	}
}
