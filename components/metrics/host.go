package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ticks are the units of times in /proc, per second: USER_HZ, which is 100 on
// all that Linux runs on here (proc(5)).
const ticks = 100

// lines are the lines of a file, as words.
func lines(names ...string) ([][]string, error) {
	text, err := os.ReadFile(filepath.Join(names...))
	if err != nil {
		return nil, err
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out, nil
}

// number is a word as a number; 0 for what is none, which the kernel does not
// write where one is expected.
func number(word string) float64 {
	n, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return 0
	}
	return n
}

// modes are the columns of /proc/stat's cpu lines (proc(5)). The time of guests
// is part of user and nice.
var modes = []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}

// counts are the other lines of /proc/stat.
var counts = map[string]struct{ name, kind, help string }{
	"intr":          {"node_intr_total", counter, "Interrupts."},
	"ctxt":          {"node_context_switches_total", counter, "Context switches."},
	"processes":     {"node_forks_total", counter, "Processes and threads made."},
	"btime":         {"node_boot_time_seconds", gauge, "When the system booted, as Unix time."},
	"procs_running": {"node_procs_running", gauge, "Threads that run or could."},
	"procs_blocked": {"node_procs_blocked", gauge, "Threads that wait for disks."},
}

func (s sources) stat(p *page) error {
	list, err := lines(s.proc, "stat")
	for _, words := range list {
		if c, ok := counts[words[0]]; ok && len(words) > 1 {
			p.add(c.name, c.kind, c.help, number(words[1]))
		}
		cpu, ok := strings.CutPrefix(words[0], "cpu")
		if !ok || cpu == "" {
			continue
		}
		for i, mode := range modes {
			if i+1 < len(words) {
				p.add("node_cpu_seconds_total", counter, "What a processor spent its time with.", number(words[i+1])/ticks, "cpu", cpu, "mode", mode)
			}
		}
	}
	return err
}

func (s sources) load(p *page) error {
	list, err := lines(s.proc, "loadavg")
	if err != nil || len(list) == 0 || len(list[0]) < 3 {
		return errors.Join(err)
	}
	for i, minutes := range []string{"1", "5", "15"} {
		p.add("node_load"+minutes, gauge, "Load average of the last "+minutes+" minutes.", number(list[0][i]))
	}
	return nil
}

// memory tells all of /proc/meminfo: "Active(anon): 12 kB" is
// node_memory_Active_anon_bytes.
func (s sources) memory(p *page) error {
	list, err := lines(s.proc, "meminfo")
	name := strings.NewReplacer("(", "_", ")", "", ":", "")
	for _, words := range list {
		if len(words) < 2 {
			continue
		}
		metric, value := "node_memory_"+name.Replace(words[0]), number(words[1])
		if len(words) == 3 && words[2] == "kB" {
			metric, value = metric+"_bytes", value*1024
		}
		p.add(metric, gauge, strings.TrimSuffix(words[0], ":")+" of /proc/meminfo.", value)
	}
	return err
}

// events are the lines of /proc/vmstat that tell of trouble with memory.
var events = map[string]string{
	"pgmajfault": "Pages that had to be read from a disk.", "pswpin": "Pages read from swap.", "pswpout": "Pages written to swap.",
	"oom_kill": "Processes killed for want of memory.",
}

func (s sources) vmstat(p *page) error {
	list, err := lines(s.proc, "vmstat")
	for _, words := range list {
		if help, ok := events[words[0]]; ok && len(words) == 2 {
			p.add("node_vmstat_"+words[0], counter, help, number(words[1]))
		}
	}
	return err
}

func (s sources) files(p *page) error {
	list, err := lines(s.proc, "sys/fs/file-nr")
	if err != nil || len(list) == 0 || len(list[0]) < 3 {
		return err
	}
	p.add("node_filefd_allocated", gauge, "Open files.", number(list[0][0]))
	p.add("node_filefd_maximum", gauge, "How many files can be open.", number(list[0][2]))
	return nil
}

func (s sources) uname(p *page) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	str := func(b []byte) string { return unix.ByteSliceToString(b) }
	p.add("node_uname_info", gauge, "The kernel and the machine's name.", 1, "sysname", str(u.Sysname[:]), "release", str(u.Release[:]),
		"version", str(u.Version[:]), "machine", str(u.Machine[:]), "nodename", str(u.Nodename[:]), "domainname", str(u.Domainname[:]))
	return nil
}

// traffic are the columns of /proc/net/dev that are told; receive's are the
// first eight, transmit's the others (proc(5)).
var traffic = []string{"bytes", "packets", "errs", "drop"}

func (s sources) network(p *page) error {
	list, err := lines(s.proc, "net/dev")
	for _, words := range list {
		// Behind a long name there may be no blank.
		name, rest, ok := strings.Cut(strings.Join(words, " "), ":")
		columns := strings.Fields(rest)
		if !ok || len(columns) < 16 {
			continue
		}
		for i, what := range traffic {
			p.add("node_network_receive_"+what+"_total", counter, "Received by an interface: "+what+".", number(columns[i]), "device", name)
			p.add("node_network_transmit_"+what+"_total", counter, "Sent by an interface: "+what+".", number(columns[i+8]), "device", name)
		}
		state, err := os.ReadFile(filepath.Join(s.sys, "class/net", name, "operstate"))
		if err == nil {
			up := 0.0
			if strings.TrimSpace(string(state)) == "up" {
				up = 1
			}
			p.add("node_network_up", gauge, "Whether an interface is up.", up, "device", name)
		}
	}
	return err
}

// pressures are node_exporter's words for the kernel's: some tasks wait, or all.
var pressures = map[string]string{"some": "waiting", "full": "stalled"}

// pressure tells of tasks that have to wait, if the kernel counts that
// (psi.rst): "some avg10=0.00 avg60=0.00 avg300=0.00 total=12", in microseconds.
func (s sources) pressure(p *page) error {
	for _, resource := range []string{"cpu", "io", "memory"} {
		list, err := lines(s.proc, "pressure", resource)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		} else if err != nil {
			return err
		}
		for _, words := range list {
			state, known := pressures[words[0]]
			total, ok := strings.CutPrefix(words[len(words)-1], "total=")
			if !known || !ok || resource == "cpu" && state == "stalled" { // means nothing for a whole machine
				continue
			}
			p.add(fmt.Sprintf("node_pressure_%s_%s_seconds_total", resource, state), counter,
				"Time in which tasks were "+state+" for "+resource+".", number(total)/1e6)
		}
	}
	return nil
}
