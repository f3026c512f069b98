package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// groups are the cgroups whose children are containers.
var groups = []string{"services", "onboot", "onshutdown"}

// containers tells of each container that runs what its cgroup says
// (cgroup-v2.rst), by cAdvisor's names.
func (s sources) containers(p *page) error {
	boot, err := s.bootTime()
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range groups {
		dirs, err := os.ReadDir(filepath.Join(s.sys, "fs/cgroup", g))
		if err != nil {
			continue // there are none of that kind
		}
		for _, d := range dirs {
			if !d.IsDir() {
				continue
			}
			c := container{dir: filepath.Join(s.sys, "fs/cgroup", g, d.Name()), labels: []string{"id", "/" + g + "/" + d.Name(), "name", d.Name()}}
			c.tell(p)
			c.started(p, s.proc, boot)
			errs = append(errs, c.err)
		}
	}
	return errors.Join(errs...)
}

// container is a cgroup that is being read. One that is gone meanwhile is no
// error, nor is a controller that the kernel has not.
type container struct {
	dir    string
	labels []string
	err    error
}

func (c *container) read(name string) [][]string {
	list, err := lines(c.dir, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
		c.err = errors.Join(c.err, err)
	}
	return list
}

// keys are the numbers of a file of lines "key number".
func (c *container) keys(name string) map[string]float64 {
	out := map[string]float64{}
	for _, words := range c.read(name) {
		if len(words) == 2 {
			out[words[0]] = number(words[1])
		}
	}
	return out
}

// value is the number that a file consists of. "max" is none.
func (c *container) value(name string) (float64, bool) {
	list := c.read(name)
	if len(list) == 0 || list[0][0] == "max" {
		return 0, false
	}
	return number(list[0][0]), true
}

func (c *container) tell(p *page) {
	add := func(name, kind, help string, value float64, more ...string) {
		p.add("container_"+name, kind, help, value, append(c.labels[:len(c.labels):len(c.labels)], more...)...)
	}
	file := func(file, name, kind, help string) (float64, bool) {
		v, ok := c.value(file)
		if ok {
			add(name, kind, help, v)
		}
		return v, ok
	}
	if cpu := c.keys("cpu.stat"); len(cpu) > 0 {
		add("cpu_usage_seconds_total", counter, "Time of processors that it used.", cpu["usage_usec"]/1e6)
		add("cpu_user_seconds_total", counter, "That, in user mode.", cpu["user_usec"]/1e6)
		add("cpu_system_seconds_total", counter, "That, in the kernel.", cpu["system_usec"]/1e6)
		add("cpu_cfs_throttled_seconds_total", counter, "Time in which its limit held it back.", cpu["throttled_usec"]/1e6)
	}
	usage, ok := file("memory.current", "memory_usage_bytes", gauge, "Memory that it uses, with caches.")
	if ok {
		stat := c.keys("memory.stat")
		// What could be taken from it at once is the cache that is not in use.
		add("memory_working_set_bytes", gauge, "That, without caches that are not in use.", max(0, usage-stat["inactive_file"]))
		add("memory_rss", gauge, "Memory that is no cache.", stat["anon"])
	}
	file("memory.max", "spec_memory_limit_bytes", gauge, "Its limit of memory, if it has one.")
	file("memory.swap.current", "memory_swap", gauge, "Swap that it uses, in bytes.")
	if events := c.keys("memory.events"); len(events) > 0 {
		add("oom_events_total", counter, "Processes of it that were killed for want of memory.", events["oom_kill"])
	}
	file("pids.current", "threads", gauge, "Its threads.")
	file("pids.max", "threads_max", gauge, "How many threads it can have, if there is a limit.")
	c.disks(add)
}

// disks tells what io.stat says: "254:0 rbytes=1 wbytes=2 rios=3 wios=4 …".
func (c *container) disks(add func(name, kind, help string, value float64, more ...string)) {
	for _, words := range c.read("io.stat") {
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "rbytes":
				add("fs_reads_bytes_total", counter, "Bytes that it read from a disk.", number(value), "device", words[0])
			case "wbytes":
				add("fs_writes_bytes_total", counter, "Bytes that it wrote to a disk.", number(value), "device", words[0])
			}
		}
	}
}

// started tells when the container's first process that still runs was started,
// and how many there are. That it changes is how a restart shows.
func (c *container) started(p *page, proc string, boot float64) {
	list := c.read("cgroup.procs")
	first, n := 0.0, 0.0
	for _, words := range list {
		start, ok := startOf(proc, words[0])
		if !ok {
			continue // it ended, or is in a process namespace that we cannot see
		}
		n++
		if first == 0 || start < first {
			first = start
		}
	}
	p.add("container_processes", gauge, "Its processes.", float64(len(list)), c.labels...)
	if n > 0 {
		p.add("container_start_time_seconds", gauge, "When it was started, as Unix time; a restart changes it.", boot+first, c.labels...)
	}
}

// startOf is when a process was started, in seconds after the boot: the 22nd
// column of /proc/PID/stat (proc(5)), of which the second, a name in
// parentheses, may have blanks.
func startOf(proc, pid string) (float64, bool) {
	text, err := os.ReadFile(filepath.Join(proc, pid, "stat"))
	if err != nil {
		return 0, false
	}
	rest := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(rest) < 20 {
		return 0, false
	}
	return number(rest[19]) / ticks, true
}

// bootTime is when the system booted, in seconds of Unix time.
func (s sources) bootTime() (float64, error) {
	list, err := lines(s.proc, "stat")
	for _, words := range list {
		if words[0] == "btime" && len(words) > 1 {
			return number(words[1]), nil
		}
	}
	return 0, err
}
