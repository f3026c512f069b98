package main

import "testing"

func TestParse(t *testing.T) {
	o, err := parse([]string{"-force", "-type", "xfs", "-label", "DATA", "-verbose", "/dev/vda"})
	if want := (options{device: "/dev/vda", label: "DATA", named: true, fsType: "xfs", force: true, timeout: o.timeout}); err != nil || o != want {
		t.Errorf("got %+v, %v, want %+v", o, err, want)
	}
	for _, args := range [][]string{
		{"-type", "btrfs"},
		{"-label", ""},
		{"-type", "xfs", "-label", "thirteen-char"},
		{"-label", "seventeen-letters"},
		{"-partition", "dos"},
		{"vda"},
		{"/dev/vda", "/dev/vdb"},
		{"-free", "/dev/vda"},
		{"LABEL="},
	} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q is taken as %+v", args, o)
		}
	}
}
