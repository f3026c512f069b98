package main

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want options
	}{
		{[]string{"name", "/dev/sda1"}, options{name: "name", device: "/dev/sda1", key: "/etc/dm-crypt/key"}},
		{[]string{"-k", "other", "-l", "name", "/dev/sda1"}, options{name: "name", device: "/dev/sda1", key: "/etc/dm-crypt/other", luks: true}},
		{[]string{"--key", "/run/key", "--luks", "-format", "name"}, options{name: "name", key: "/run/key", luks: true, format: true}},
	} {
		got, err := parse(c.args)
		got.cipher, got.timeout = "", 0
		if err != nil || got != c.want {
			t.Errorf("%q: got %+v, %v, want %+v", c.args, got, err, c.want)
		}
	}
	for _, args := range [][]string{nil, {"name"}, {"-l", "a/b"}, {"-l", "control"}, {"a", "sda"}, {"a", "/dev/a", "/dev/b"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q is taken as %+v", args, o)
		}
	}
}
