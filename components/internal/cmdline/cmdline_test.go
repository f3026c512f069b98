package cmdline

import (
	"testing"
	"time"
)

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

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"quiet": time.Hour, "t=": time.Hour, "t=3": 3 * time.Second, "t=0": 0, "t=1m30s": 90 * time.Second,
	} {
		if got, err := Parse(text).Duration("t", time.Hour); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"t=soon", "t=-3s", "t=-3"} {
		if got, err := Parse(text).Duration("t", time.Hour); err == nil || got != time.Hour {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}
