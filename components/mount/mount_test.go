package main

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args        []string
		device, dir string
	}{
		{[]string{"/var/a/"}, "", "/var/a"},
		{[]string{"/dev/sda1", "/var/a"}, "/dev/sda1", "/var/a"},
		{[]string{"-label", "DATA", "/var/a"}, "LABEL=DATA", "/var/a"},
		{[]string{"-uuid", "1-2", "/var/a"}, "UUID=1-2", "/var/a"},
		{[]string{"-device", "/dev/sda1", "/var/a"}, "/dev/sda1", "/var/a"},
	} {
		o, err := parse(c.args)
		if err != nil || o.device != c.device || o.dir != c.dir {
			t.Errorf("%q: got %q on %q, %v", c.args, o.device, o.dir, err)
		}
	}
	for _, args := range [][]string{nil, {"var"}, {"-label", "a", "-uuid", "b", "/var"}, {"-label", "a", "/dev/sda1", "/var"}, {"sda1", "/var"}, {"-owner", "999", "/var"}, {"-owner", "1:2x", "/var"}, {"-owner", "a:b", "/var"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q is taken as %+v", args, o)
		}
	}
}

func TestOwner(t *testing.T) {
	o, err := parse([]string{"-owner", "999:1", "/var/a"})
	if err != nil || o.owner == nil || *o.owner != (owner{999, 1}) {
		t.Errorf("%+v, %v", o.owner, err)
	}
}

func TestPropagates(t *testing.T) {
	const mounts = "1 0 0:1 / / rw shared:1 - overlay none rw\n" +
		"2 1 0:2 / /var rw shared:7 - tmpfs none rw\n" +
		"3 2 0:3 / /var/private rw - tmpfs none rw\n"
	for _, c := range []struct {
		dir, at string
		ok      bool
	}{
		{"/var/lib/a", "/var", true},
		{"/var", "/var", true},
		{"/variable/a", "/variable", false},
		{"/var/private/a", "/var/private", false},
		{"/mnt/a", "/mnt", false},
	} {
		if at, ok := propagates(mounts, c.dir); at != c.at || ok != c.ok {
			t.Errorf("%s: got %s, %t, want %s, %t", c.dir, at, ok, c.at, c.ok)
		}
	}
}
