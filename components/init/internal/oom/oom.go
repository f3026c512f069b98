// Package oom tells of the ends of containers that the kernel brought about for
// want of memory.
package oom

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroups is where the cgroups are.
const cgroups = "/sys/fs/cgroup"

// Kills is how many processes of a cgroup, and of those below it, the kernel has
// killed for want of memory since the cgroup was made: oom_kill of memory.events
// (Linux, cgroup-v2.rst). Of one that is not there it is 0.
func Kills(cgroup string) int {
	text, _ := os.ReadFile(filepath.Join(cgroups, cgroup, "memory.events")) // none is none
	return parse(string(text))
}

func parse(events string) int {
	for line := range strings.Lines(events) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "oom_kill" {
			n, _ := strconv.Atoi(value) // the kernel writes a number
			return n
		}
	}
	return 0
}

// killed is the status of a process that SIGKILL ended: 128 and its number.
const killed = 128 + 9

// Ending says how a container ended: with which status, after how many of its
// processes were killed for want of memory. limit is its own in bytes, 0 for none.
func Ending(status, kills int, limit int64) string {
	if kills == 0 {
		return fmt.Sprintf("exited with status %d", status)
	}
	why := "out of memory, of the machine's, for it has no limit"
	if limit > 0 {
		why = fmt.Sprintf("out of memory (limit %s)", size(limit))
	}
	switch {
	case status == killed:
		return "killed: " + why
	case kills == 1:
		return fmt.Sprintf("exited with status %d, after one of its processes was killed: %s", status, why)
	}
	return fmt.Sprintf("exited with status %d, after %d of its processes were killed: %s", status, kills, why)
}

// size is a number of bytes in the largest unit that it is a multiple of.
func size(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
