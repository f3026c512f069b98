package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestApply(t *testing.T) {
	proc := tree(t, map[string]string{"kernel/a": "0", "net/conf/eth0.5/f": "0", "net/conf/eth1/f": "0", "vm/b": "0"})
	conf := tree(t, map[string]string{
		"20.conf": "kernel.a = 2\nvm/b=x y\n", "10.conf": "# comment\n; too\n\nkernel.a=1\n-no.such = 1\nnet.conf.*.f = 3\nnet.conf.eth0/5.f=4\n", "ignored": "kernel.a=9",
	})
	n, err := apply(conf, proc)
	if err != nil || n != 6 {
		t.Errorf("%d set, %v", n, err)
	}
	for name, want := range map[string]string{"kernel/a": "2\n", "net/conf/eth0.5/f": "4\n", "net/conf/eth1/f": "3\n", "vm/b": "x y\n"} {
		if text, err := os.ReadFile(filepath.Join(proc, name)); err != nil || string(text) != want {
			t.Errorf("%s is %q, %v, want %q", name, text, err, want)
		}
	}
}

func TestApplyFails(t *testing.T) {
	proc := tree(t, map[string]string{"kernel/a": "0"})
	conf := tree(t, map[string]string{"a.conf": "no.such = 1\n../../x = 1\nkernel.a = 1\n", "b.conf": "\nnonsense\n"})
	n, err := apply(conf, proc)
	if n != 1 || err == nil {
		t.Fatalf("%d set, %v", n, err)
	}
	for _, want := range []string{"a.conf:1: the kernel has no no/such", "a.conf:2: ", `b.conf:2: "nonsense" is not KEY = VALUE`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if _, err := apply(t.TempDir(), proc); err == nil {
		t.Error("nothing to set is no error")
	}
}
