package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Report is all that a run tells.
type Report struct {
	Machine  Machine              `json:"machine"`
	Seconds  float64              `json:"seconds"` // of the whole run
	Rounds   int                  `json:"rounds"`
	Wanted   int                  `json:"wanted"` // rounds that were asked for
	Load     float64              `json:"load"`   // load average at the start, by processor
	Others   float64              `json:"others"` // part of the processors' time that other programs took meanwhile
	Verdicts []Verdict            `json:"verdicts"`
	Rows     []Stats              `json:"rows"`
	Systems  []string             `json:"systems"` // what is built
	Samples  map[string][]float64 `json:"samples"` // seconds of every run, by row
	wide     map[Row]bool
}

// Machine is where it ran, in general words.
type Machine struct {
	Processors int     `json:"processors"`
	Disk       string  `json:"disk"`   // type of the file system that was written to
	Memory     int64   `json:"memory"` // bytes
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Arch       string  `json:"arch"`
	busy       float64 // seconds that processors were busy, in all
}

func thisMachine(dir string) Machine {
	m := Machine{Disk: fileSystem(dir), Processors: processors(), Go: runtime.Version(), Arch: runtime.GOARCH, busy: busySeconds()}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		version, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
		m.Kernel = "Linux " + version
	}
	return m
}

// fileSystem names the type of the file system that dir is on, as statfs(2) has it.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "unknown"
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	}
	return fmt.Sprintf("type %#x", st.Type)
}

// processors is how many this program, and what it starts, can use.
func processors() int { return runtime.GOMAXPROCS(0) }

// loadAverage is that of the last minute, by processor.
func loadAverage() float64 {
	var load float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &load)
	}
	return load / float64(processors())
}

// busySeconds is how long processors were at work since the machine started.
func busySeconds() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var t [8]float64 // user nice system idle iowait irq softirq steal
	_, _ = fmt.Sscanf(string(text), "cpu %f %f %f %f %f %f %f %f", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7])
	return (t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) / userHertz
}

// ownSeconds is what this program and what it waited for took of them.
func ownSeconds() float64 {
	var sum float64
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
	}
	return sum
}

// report sums up what was measured since began.
func (b *bench) report(m Machine, load float64, began time.Time, rounds, wanted int, list []*workload) *Report {
	took := time.Since(began).Seconds()
	r := &Report{Machine: m, Seconds: took, Rounds: rounds, Wanted: wanted, Load: load, Samples: map[string][]float64{}, wide: map[Row]bool{}}
	r.Others = max(0, busySeconds()-m.busy-ownSeconds()) / took / float64(m.Processors)
	for _, row := range b.rows {
		s := b.samples[row]
		r.Rows = append(r.Rows, sumUp(row, s, b.kept[row]))
		r.wide[row] = spread(s) > wide
		for _, x := range s {
			r.Samples[row.String()] = append(r.Samples[row.String()], x.Seconds)
		}
	}
	r.Verdicts = verdicts(r.Rows, wantedFormats[0], took)
	for _, w := range list {
		r.Systems = append(r.Systems, w.Name+": "+w.Doc)
	}
	return r
}

// busy is from where on a machine's other work makes figures worth little.
const busy = 0.15

// markdown is the part of docs/benchmarks.md that a run makes.
func (r *Report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processors (%s), %d GiB of memory, %s, %s; written to %s. %d rounds in %.0f s, all rows by turns.\n",
		r.Machine.Processors, r.Machine.Arch, (r.Machine.Memory+1<<29)>>30, r.Machine.Kernel, r.Machine.Go, r.Machine.Disk, r.Rounds, r.Seconds)
	fmt.Fprintf(&b, "Load average at the start: %.1f per processor; other programs took %.0f %% of the processors' time meanwhile.\n", r.Load, 100*r.Others)
	if r.Others > busy {
		b.WriteString("\n**The machine was busy: trust ratios, and them only roughly.**\n")
	}
	if r.Rounds < r.Wanted {
		fmt.Fprintf(&b, "\n**Fewer than %d rounds: the time was up.**\n", r.Wanted)
	}
	b.WriteString("\n| goal | at most | measured | of the fastest runs | |\n|---|---|---|---|---|\n")
	for _, v := range r.Verdicts {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", v.What, figure(v.Goal, v.Unit), figure(v.Measured, v.Unit), figure(v.Best, v.Unit), map[bool]string{true: "pass", false: "over"}[v.Pass])
	}
	b.WriteString("\n| system | format | engine | state | min s | median s | max s | CPU s | MiB of memory | MiB read | MiB written | to disk |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range r.Rows {
		note := ""
		if r.wide[s.Row] {
			note = " ±"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %.2f%s | %.2f | %.2f | %d | %d | %d | %d |\n", s.Workload, s.Format, s.Engine, s.State,
			s.Min, s.Median, note, s.Max, s.CPU, s.Memory/mib, s.Read/mib, s.Written/mib, s.DiskWrite/mib)
	}
	return b.String()
}

func figure(x float64, unit string) string {
	switch unit {
	case "MiB", "":
		return strings.TrimSpace(fmt.Sprintf("%.0f %s", x, unit))
	}
	return fmt.Sprintf("%.2f %s", x, unit)
}

// Marks around what a run makes in docs/benchmarks.md.
const (
	beginMark = "<!-- make bench: begin -->\n"
	endMark   = "<!-- make bench: end -->\n"
)

// insert puts made between the marks of a page.
func insert(page []byte, made string) ([]byte, error) {
	before, rest, ok := bytes.Cut(page, []byte(beginMark))
	_, after, also := bytes.Cut(rest, []byte(endMark))
	if !ok || !also {
		return nil, fmt.Errorf("the page has no lines %q and %q", strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return bytes.Join([][]byte{before, []byte(beginMark + "\n" + made + "\n" + endMark), after}, nil), nil
}

// save writes the report into a page, and as JSON beside it.
func (r *Report) save(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if text, err = insert(text, r.markdown()); err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(page, ".md")+".json", append(data, '\n'), 0o644)
}
