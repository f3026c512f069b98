package source

import "testing"

func TestNearest(t *testing.T) {
	many := []string{"a1", "b2", "c3", "d4", "e5", "f6", "g7", "h8", "i9", "j10", "k11", "l12", "m13"}
	for _, c := range []struct {
		name  string
		names []string
		want  string
	}{
		{"nme", []string{"image", "name"}, `did you mean "name"?`},
		{"IMAGES", []string{"image", "name"}, `did you mean "image"?`},
		{"xyz", []string{"image", "", "name"}, "there are: image, name"},
		{"something", many, ""},
		{"x", nil, ""},
	} {
		if got := Nearest(c.name, c.names); got != c.want {
			t.Errorf("%q among %q: %q, want %q", c.name, c.names, got, c.want)
		}
	}
}
