package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	shell, rest, err := parse([]string{"-login", "/usr/bin/x -y", "-p", "2222"})
	if err != nil || shell != "/usr/bin/x -y" {
		t.Fatalf("%q, %v", shell, err)
	}
	args := command(shell, rest, []string{"/etc/ssh/ssh_host_ed25519_key"})
	at := slices.Index(args, "-p")
	if at < 0 || at > slices.Index(args, "-o") {
		t.Errorf("what is given does not come first: %q", args)
	}
	for _, want := range []string{"PasswordAuthentication=no", "HostKey=/etc/ssh/ssh_host_ed25519_key", `SetEnv=LKX_LOGIN="/usr/bin/x -y"`} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %q", want, args)
		}
	}
	if _, rest, err := parse([]string{"-o", "Port=1"}); err != nil || len(rest) != 2 {
		t.Errorf("%q, %v", rest, err)
	}
	for _, bad := range [][]string{{"-login"}, {"-login", " "}, {"-login", `a "b"`}} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("%q gave no error", bad)
		}
	}
}

// TestHostKeys makes a key, takes one that is there, and finds one broken.
func TestHostKeys(t *testing.T) {
	if _, err := os.Stat(keygen); err != nil {
		t.Skipf("no ssh-keygen here, which hack/deps.sh installs: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "ssh")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// What a start left that was cut off.
	if err := os.WriteFile(filepath.Join(dir, ".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "ssh_host_ed25519_key")}
	var first []byte
	for range 2 {
		keys, err := hostKeys(dir)
		if err != nil || !slices.Equal(keys, want) {
			t.Fatalf("%q, %v", keys, err)
		}
		text, err := os.ReadFile(keys[0])
		if err != nil || first != nil && !slices.Equal(text, first) {
			t.Fatalf("the key became another, %v", err)
		}
		first = text
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("there are %q, %v", names, err)
	}
	if err := os.WriteFile(want[0], []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hostKeys(dir); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken key: %v", err)
	}
}

func TestAnyKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if anyKey([]string{file}) {
		t.Error("a key in a file that is missing")
	}
	for text, want := range map[string]bool{"\n": false, "ssh-ed25519 AAAA\n": true} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := anyKey([]string{"/missing", file}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOperands(t *testing.T) {
	for in, want := range map[string][]string{
		"lkxctl ls": {"ls"}, "/host/usr/bin/lkxctl logs -f x": {"logs", "-f", "x"}, "ls": {"ls"}, "": {},
	} {
		if got := operands(strings.Fields(in)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestConverse(t *testing.T) {
	var out strings.Builder
	if err := converse("/bin/echo", strings.NewReader("\nls  -a\nlkxctl status\nexit\nlost\n"), &out); err != nil {
		t.Fatal(err)
	}
	_, said, _ := strings.Cut(out.String(), "\n")
	if want := "lkxctl> lkxctl> ls -a\nlkxctl> status\nlkxctl> "; said != want {
		t.Errorf("got  %q\nwant %q", said, want)
	}
}
