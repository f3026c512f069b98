package oom

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int{
		"low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n": 2,
		"": 0, "oom 1\n": 0,
	} {
		if got := parse(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestEnding(t *testing.T) {
	for _, c := range []struct {
		status, kills int
		limit         int64
		want          string
	}{
		{3, 0, 1 << 20, "exited with status 3"},
		{137, 0, 1 << 20, "exited with status 137"},
		{137, 1, 32 << 20, "killed: out of memory (limit 32 MiB)"},
		{137, 1, 0, "killed: out of memory, of the machine's, for it has no limit"},
		{1, 1, 500 << 10, "exited with status 1, after one of its processes was killed: out of memory (limit 500 KiB)"},
		{1, 2, 5, "exited with status 1, after 2 of its processes were killed: out of memory (limit 5 bytes)"},
	} {
		if got := Ending(c.status, c.kills, c.limit); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
