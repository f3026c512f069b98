package control

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

// kinds are the directories of containers, and what those there are.
var kinds = []struct{ dir, kind string }{{"services", "service"}, {"onboot", "onboot"}, {"onshutdown", "onshutdown"}}

// containers are all that the system has, containerd first.
func (s *Server) containers() []Container {
	out := []Container{s.container("containerd", "system", filepath.Join(s.State, "containerd"))}
	for _, k := range kinds {
		entries, _ := os.ReadDir(filepath.Join(s.Bundles, k.dir)) // none is no fault
		for _, e := range entries {
			if e.IsDir() {
				out = append(out, s.container(e.Name(), k.kind, filepath.Join(s.State, k.dir, e.Name())))
			}
		}
	}
	return out
}

// container is what is known of one. A record that cannot be read is empty.
func (s *Server) container(name, kind, dir string) Container {
	r, err := record.Read(dir)
	if err != nil {
		r.LastExit = err.Error()
	}
	c := Container{Name: name, Kind: kind, Record: r}
	if r.Since > 0 {
		c.Age = uptime.Now() - r.Since
	}
	switch {
	case r.State != record.Running:
	case r.Cgroup != "":
		c.Memory, c.CPU = cgroupUse(filepath.Join("/sys/fs/cgroup", r.Cgroup))
	case r.PID > 0:
		c.Memory, c.CPU = processUse(filepath.Join("/proc", strconv.Itoa(r.PID)))
	}
	return c
}

// find is the container of that name; onboot's can leave out their number.
func (s *Server) find(name string) (Container, *Reply) {
	all := s.containers()
	for _, c := range all {
		if c.Name == name || c.Kind+"/"+c.Name == name {
			return c, nil
		}
	}
	for _, c := range all {
		if number, rest, ok := strings.Cut(c.Name, "-"); ok && c.Kind != "service" && rest == name && len(number) == 3 {
			return c, nil
		}
	}
	e := &Reply{Error: "there is no " + strconv.Quote(name)}
	best := slices.MinFunc(all, func(a, b Container) int { return cmp.Compare(distance(name, a.Name), distance(name, b.Name)) })
	if distance(name, best.Name) <= max(2, len(name)/3) {
		e.Hint = fmt.Sprintf("did you mean %q?", best.Name)
	} else {
		e.Hint = "lkxctl ls shows what there is"
	}
	return Container{}, e
}

// distance is how many letters one has to insert, remove, change, or swap with
// the next to get from a to b.
func distance(a, b string) int {
	var last, before []int // the rows above
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// cgroupUse is what the processes of a cgroup take: bytes of memory, and time.
func cgroupUse(dir string) (int64, time.Duration) {
	text, _ := os.ReadFile(filepath.Join(dir, "memory.current")) // gone with its last process
	memory, _ := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	return memory, time.Duration(field(filepath.Join(dir, "cpu.stat"), "usage_usec")) * time.Microsecond
}

// tick is that of clock_t in /proc (times(2)): 100 a second on all architectures.
const tick = 10 * time.Millisecond

// processUse is what one process takes (proc_pid_status(5), proc_pid_stat(5)).
func processUse(dir string) (int64, time.Duration) {
	memory := field(filepath.Join(dir, "status"), "VmRSS:") << 10
	text, _ := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, _ := bytes.Cut(text, []byte(") ")) // after the name, field 3
	var cpu time.Duration
	if f := strings.Fields(string(rest)); len(f) > 12 {
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		cpu = time.Duration(user+system) * tick
	}
	return memory, cpu
}

// field is the number behind a name that begins a line of a file.
func field(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

func (s *Server) system() *System {
	out := &System{
		Version: s.Version, Stage: s.Stage, Uptime: uptime.Now(),
		Memory: field("/proc/meminfo", "MemTotal:") << 10, Available: field("/proc/meminfo", "MemAvailable:") << 10,
	}
	out.Hostname, _ = os.Hostname()
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		out.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return out
}
