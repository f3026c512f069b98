package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func zip(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.Bytes()
}

// expect compares files, "MODE CONTENT" by path, with those of c.
func expect(t *testing.T, c config, err error, want map[string]string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		f, ok := c.files[name]
		if got := fmt.Sprintf("%o %s", f.mode, f.text); !ok || got != text {
			t.Errorf("%s is %q, want %q", name, got, text)
		}
	}
	if len(c.files) != len(want) {
		t.Errorf("%d files, want %d: %v", len(c.files), len(want), c.files)
	}
}

func TestJSON(t *testing.T) {
	const user = ` {"ssh": {"entries": {"sshd_config": {"perm": "0600", "content": "A\nB"}, "deep": {"entries": {"x": {"content": ""}}}}},
		"old": {"bar": {"content": "foobar"}}, "hostname": {"content": "given"}}`
	c, err := interpret("file", data{host: "other", instance: "i", user: []byte(user), keys: []string{"k1", " k1", "", "k2\n"}}, false)
	expect(t, c, err, map[string]string{
		"/run/config/provider": "644 file\n", "/run/config/userdata": "644 " + user, "/run/config/instance_id": "644 i\n",
		"/run/config/hostname": "644 given\n", "/run/config/ssh/authorized_keys": "600 k1\nk2\n",
		"/run/config/ssh/sshd_config": "600 A\nB", "/run/config/ssh/deep/x": "644 ", "/run/config/old/bar": "644 foobar",
	})
	c, err = interpret("file", data{user: []byte(user)}, true)
	expect(t, c, err, map[string]string{"/run/config/provider": "644 file\n", "/run/config/userdata": "644 " + user})
	c, err = interpret("file", data{user: zip("plain words")}, false)
	expect(t, c, err, map[string]string{"/run/config/provider": "644 file\n", "/run/config/userdata": "644 plain words"})
}

func TestCloudConfig(t *testing.T) {
	user := `#cloud-config
fqdn: a.example.com
hostname: a
ssh_authorized_keys:
  - k2
runcmd: [reboot]
apt: {}
write_files:
  - {path: /run/x, content: "one\n"}
  - {path: /run/x, content: "two\n", append: true}
  - {path: /var/lib/./y, permissions: '0600', encoding: b64, content: ` + base64.StdEncoding.EncodeToString([]byte("bytes")) + `, owner: me}
  - {path: /var/z, encoding: gz+b64, content: ` + base64.StdEncoding.EncodeToString(zip("zipped")) + `, append: true}
`
	c, err := interpret("cidata", data{host: "b", user: []byte(user), keys: []string{"k1"}}, false)
	expect(t, c, err, map[string]string{
		"/run/config/provider": "644 cidata\n", "/run/config/userdata": "644 " + user,
		"/run/config/hostname": "644 a\n", "/run/config/ssh/authorized_keys": "600 k1\nk2\n",
		"/run/x": "644 one\ntwo\n", "/var/lib/y": "600 bytes", "/var/z": "644 zipped",
	})
	if !c.files["/var/z"].append || c.files["/run/x"].append {
		t.Error("what is appended is not told from what is new")
	}
	want := []string{"cloud-config: /var/lib/y belongs to root, not to me", "cloud-config: nothing is done for apt, runcmd"}
	if slices.Sort(c.warnings); !slices.Equal(c.warnings, want) {
		t.Errorf("got %q, want %q", c.warnings, want)
	}
}

func TestCorrupt(t *testing.T) {
	for user, want := range map[string]string{
		"{\n\"a\": }": "line 2: invalid character",
		`{"a": {"entries": {"b": {"content": 1}}}}`:                                 "a: want an object",
		`{"a": {"content": "x", "entries": {}}}`:                                    "with content, or with entries",
		`{"a": {"entries": {"../b": {"content": "x"}}}}`:                            "cannot be the name of a file",
		`{"a": {"content": "x", "perm": "rw"}}`:                                     "are no permissions",
		`{"ignition": {"version": "3"}}`:                                            "ignition: want an object",
		`{"userdata": {"entries": {"x": {"content": ""}}}}`:                         "/run/config/userdata cannot be both",
		`{"hostname": {"content": "a b"}}`:                                          `"a b" cannot be a host name`,
		"#cloud-config\nhostname: [":                                                "cloud-config: yaml: line",
		"#cloud-config\nwrite_files: {}":                                            "cloud-config: write_files: yaml",
		"#cloud-config\nwrite_files: [{path: /etc/x}]":                              `write_files[0]: "/etc/x" cannot be written`,
		"#cloud-config\nwrite_files: [{path: /run/../etc/x}]":                       "cannot be written",
		"#cloud-config\nwrite_files: [{path: /run/x, encoding: rot13}]":             "unknown encoding",
		"#cloud-config\nwrite_files: [{path: /run/x, encoding: b64, content: '?'}]": "illegal base64",
		string(zip("words")[:12]):                                                   "user data: unexpected EOF",
	} {
		c, err := interpret("file", data{user: []byte(user)}, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %s", user, c.files, err, want)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	old := file{mode: 0o600, text: []byte("one\n")}
	if err := (&config{files: map[string]file{at("a/b"): old}}).write(); err != nil {
		t.Fatal(err)
	}
	c := config{files: map[string]file{at("a/b"): {mode: 0o640, text: []byte("two\n"), append: true}, at("c"): old}}
	if err := c.write(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(at("a/b"))
	text, _ := os.ReadFile(at("a/b"))
	if err != nil || info.Mode() != 0o640 || string(text) != "one\ntwo\n" {
		t.Errorf("got %v, %q, %v", info.Mode(), text, err)
	}
	// One file cannot be written: none is.
	c = config{files: map[string]file{at("d"): old, at("e"): old, at("z/a/b"): old, at("a"): old}}
	if err := c.write(); err == nil {
		t.Error("a directory became a file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "a" && e.Name() != "c" {
			t.Errorf("%s was left", e.Name())
		}
	}
}
