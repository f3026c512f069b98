package main

import (
	"fmt"
	"os"
	"strings"
)

// shared is an error if a mount at dir would stay in this container.
func shared(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the mounts: %w", err)
	}
	if at, ok := propagates(string(text), dir); !ok {
		return fmt.Errorf("a mount on %s would not leave this container, which shares nothing of the system at %s: add %q to its binds.add",
			dir, at, at+":"+at+":rshared,rbind")
	}
	return nil
}

// propagates tells whether the mount that dir is on is shared (proc(5),
// mountinfo, field 7), or else which directory should be.
func propagates(mountinfo, dir string) (string, bool) {
	best, ok := "", false
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 7 {
			continue
		}
		// The last of those on one another is on top.
		at := strings.TrimSuffix(f[4], "/") + "/"
		if strings.HasPrefix(dir+"/", at) && len(at) >= len(best) {
			best, ok = at, strings.HasPrefix(f[6], "shared:")
		}
	}
	if top, _, _ := strings.Cut(strings.TrimPrefix(dir, "/"), "/"); best == "/" {
		return "/" + top, false // the container's own root
	}
	return strings.TrimSuffix(best, "/"), ok
}
