package main

import (
	"slices"
	"testing"

	"github.com/lkx-os/lkx/components/internal/cmdline"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		words, names []string
		parameters   cmdline.Args
	}{
		{[]string{"-a", "a", "b"}, []string{"a", "b"}, nil},
		{[]string{"-abq", "a"}, []string{"a"}, nil},
		{[]string{"a", "x=1", "y=b=c"}, []string{"a"}, cmdline.Args{{Name: "a.x", Value: "1"}, {Name: "a.y", Value: "b=c"}}},
	} {
		names, parameters, err := parse(c.words)
		if err != nil || !slices.Equal(names, c.names) || !slices.Equal(parameters, c.parameters) {
			t.Errorf("%q: got %q, %v, %v", c.words, names, parameters, err)
		}
	}
	for _, words := range [][]string{nil, {"-a"}, {"-r", "a"}} {
		if names, _, err := parse(words); err == nil {
			t.Errorf("%q is taken as %q", words, names)
		}
	}
}
