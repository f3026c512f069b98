package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	name := filepath.Join(t.TempDir(), "swap")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // its own file is taken again
		if err := fill(f, 1<<20+1); err != nil {
			t.Fatal(err)
		}
	}
	info, err := f.Stat()
	if err != nil || info.Size() != 1<<20 || info.Mode() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	if blkid, err := exec.LookPath("/usr/sbin/blkid"); err == nil {
		out, err := exec.Command(blkid, "-p", "-o", "export", name).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "TYPE=swap") || !strings.Contains(string(out), "VERSION=1\n") || !strings.Contains(string(out), "UUID=") {
			t.Errorf("blkid says %s, %v", out, err)
		}
	} else if os.Getenv("LKX_TEST_E2E") != "" {
		t.Error(err)
	}
	other, err := os.Create(name + "2")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.WriteString("data"); err != nil {
		t.Fatal(err)
	}
	if err := fill(other, 1<<20); err == nil {
		t.Error("another file is taken")
	}
}

func TestConditions(t *testing.T) {
	for text, want := range map[string]condition{
		"part:/a": {path: "/a"}, "part:/a:true": {path: "/a", required: true}, "partsize:/a:1G:false": {path: "/a", size: 1 << 30},
	} {
		if c, err := parseCondition(text); err != nil || c != want {
			t.Errorf("%s: got %+v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "part", "partsize:/a", "size:/a:1G", "partsize:/a:x"} {
		if c, err := parseCondition(text); err == nil {
			t.Errorf("%q is taken as %+v", text, c)
		}
	}
	dir := t.TempDir()
	if err := (condition{path: "/proc"}).met(); err != nil {
		t.Error(err)
	}
	for _, c := range []condition{{path: dir}, {path: dir + "/none"}, {path: dir, size: 1 << 60}} {
		if c.met() == nil {
			t.Errorf("%+v is met", c)
		}
	}
}

func TestUnused(t *testing.T) {
	sys := t.TempDir()
	for name, text := range map[string]string{"block/zram0/disksize": "4096\n", "block/zram1/disksize": "0\n", "class/zram-control/hot_add": "2\n"} {
		path := filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want string) {
		t.Helper()
		if name, err := unused(sys); err != nil || name != want {
			t.Errorf("got %s, %v, want %s", name, err, want)
		}
	}
	want("zram1")
	if err := os.RemoveAll(filepath.Join(sys, "block")); err != nil {
		t.Fatal(err)
	}
	want("zram2")
	if err := os.RemoveAll(filepath.Join(sys, "class")); err != nil {
		t.Fatal(err)
	}
	if _, err := unused(sys); err == nil || !strings.Contains(err.Error(), "modprobe zram") {
		t.Errorf("got %v", err)
	}
}
