package cmdline

import "testing"

func TestGet(t *testing.T) {
	args := Parse("console=ttyS0 quiet lkx.onboot=stop dyn=\"file a.c +p\" \"with blank=1 2\" lkx.stop_timeout=3s lkx.onboot=continue\n")
	for name, want := range map[string]string{
		"console":          "ttyS0",
		"quiet":            "",
		"lkx.onboot":       "continue", // the last one counts
		"dyn":              "file a.c +p",
		"with blank":       "1 2",
		"lkx.stop-timeout": "3s",
		"missing":          "",
	} {
		if got := args.Get(name); got != want {
			t.Errorf("Get(%q) = %q, want %q", name, got, want)
		}
	}
	if len(args) != 7 {
		t.Errorf("got %d parameters, want 7: %q", len(args), args)
	}
}
