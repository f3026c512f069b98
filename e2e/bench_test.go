package e2e

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// benchServices take the place of the service of examples/minimal.yml. The one
// notes when it runs, waits until the system is at rest, and takes it down; the
// onshutdown container shows what it has noted. "bench NAME VALUE" are numbers,
// "bench-at NAME TIME" times of files. Uptime is read beside a file's time, so
// that others can be told in it.
const benchServices = `
onboot:
  - name: first
    image: ghcr.io/lkx-os/busybox:0.1
    readonly: true
    command: [sh, -c, "read up _ </proc/uptime; echo bench onboot $up"]
services:
  - name: hello
    image: ghcr.io/lkx-os/busybox:0.1
    readonly: true
    pid: host
    capabilities: [CAP_KILL, CAP_SYSLOG]
    binds: ["/run:/tmp"]
    command:
      - sh
      - -c
      - |
        read up _ </proc/uptime
        exec >/tmp/bench.said
        echo "bench service $up"
        sleep 5
        read up _ </proc/uptime; touch /tmp/bench.now
        echo "bench now $up"
        echo "bench-at now $(stat -c %y /tmp/bench.now)"
        echo "bench-at containerd $(stat -c %y /tmp/containerd/containerd.sock)"
        sed -n 's/^\(Mem[A-Z][a-z]*\): *\([0-9]*\) kB/bench \1 \2/p' /proc/meminfo
        dmesg | sed -n 's/^<.>//; s/^\[ *\([0-9.]*\)\] Run \/init .*/bench init \1/p'
        kill -USR2 1
        sleep 100
onshutdown:
  - name: last
    image: ghcr.io/lkx-os/busybox:0.1
    readonly: true
    binds: ["/run:/tmp"]
    command: [cat, /tmp/bench.said]
`

// TestBenchBoot measures how examples/minimal.yml boots, beside what an init
// does that does what LinuxKit's does, in turns. It prints a table; LKX_BENCH_BOOT
// says how often each is booted, LKX_BENCH_FILL how many MiB of programs that
// nothing runs are put into the system besides.
func TestBenchBoot(t *testing.T) {
	boots, _ := strconv.Atoi(os.Getenv("LKX_BENCH_BOOT"))
	if boots == 0 {
		t.Skip("LKX_BENCH_BOOT is not set: run make bench-boot")
	}
	e := setup(t)
	text, err := os.ReadFile("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), "services:")
	ours := head + benchServices
	theirs := strings.Replace(ours, "ghcr.io/lkx-os/init:0.1", standInImage, 1)
	systems := []*benched{
		{name: "lkx", manifest: ours, compression: "zstd"},
		{name: "stand-in, zstd", manifest: theirs, compression: "zstd"},
		{name: "stand-in, gzip", manifest: theirs, compression: "gzip"},
	}
	layout := standIn(t, e)
	for _, s := range systems {
		s.build(t, e, layout)
	}
	for range boots {
		for _, s := range systems {
			s.boot(t, e)
		}
	}
	t.Logf("\n%d boots each, median (least):\n%s", boots, benchTable(systems))
	t.Logf("\nexamples/minimal.yml:\n%s", artifacts(t, e))
}

// benched is one way to boot.
type benched struct {
	name, manifest, compression string

	prefix string
	files  int64                // bytes of the root file system, in whole pages
	initrd int64                // bytes
	values map[string][]float64 // seconds and KiB, by name
}

func (s *benched) build(t *testing.T, e env, layout string) {
	t.Helper()
	out := t.TempDir()
	manifest := write(t, "os.yml", s.manifest+filler(t, os.Getenv("LKX_BENCH_FILL"), filepath.Dir(e.lkx)))
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", t.TempDir(), "--layout", e.images, "--layout", layout, "-f", "kernel+initrd,tar",
		"--compression", s.compression, "-o", out, manifest)
	s.prefix, s.values = filepath.Join(out, "os"), map[string][]float64{}
	s.files, s.initrd = inMemory(t, s.prefix+".tar"), size(t, s.prefix+"-initrd.img")
}

// filler is the part of a manifest that puts mib MiB of what is in the files of
// dir into the system, a file for each; nothing for "".
func filler(t *testing.T, mib, dir string) string {
	t.Helper()
	n, _ := strconv.ParseInt(mib, 10, 64)
	left := n << 20
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := 0; left > 0; i++ {
		if i == len(names) {
			t.Fatalf("%s has not so much", dir)
		}
		data, err := os.ReadFile(names[i])
		if err != nil {
			t.Fatal(err)
		}
		data = data[:min(int64(len(data)), left)]
		left -= int64(len(data))
		if text.Len() == 0 {
			text.WriteString("files:\n")
		}
		fmt.Fprintf(&text, "  - {path: opt/filler/%d, source: %s}\n", i, write(t, "filler", string(data)))
	}
	return text.String()
}

func (s *benched) boot(t *testing.T, e env) {
	t.Helper()
	console := guest(t, e, s.prefix)
	got := map[string]float64{}
	for _, m := range regexp.MustCompile(`bench (\w+) ([0-9.]+)`).FindAllStringSubmatch(console, -1) {
		got[m[1]], _ = strconv.ParseFloat(m[2], 64) // the pattern is of numbers
	}
	at := map[string]time.Time{}
	for _, m := range regexp.MustCompile(`bench-at (\w+) (\S+ \S+ \S+)`).FindAllStringSubmatch(console, -1) {
		v, err := time.Parse("2006-01-02 15:04:05.999999999 -0700", strings.TrimSpace(m[2]))
		if err != nil {
			t.Fatal(err)
		}
		at[m[1]] = v
	}
	got["containerd"] = got["now"] - at["now"].Sub(at["containerd"]).Seconds()
	got["mine"] = got["service"] - got["init"]
	got["used"] = got["MemTotal"] - got["MemAvailable"]
	for _, row := range benchRows {
		v, there := got[row.name]
		if !there || v <= 0 {
			t.Fatalf("%s: no %s on the console:\n%s", s.name, row.name, console)
		}
		s.values[row.name] = append(s.values[row.name], v)
	}
}

// benchRows are what is measured.
var benchRows = []struct {
	name, title string
	unit        float64
}{
	{"init", "s until /init is started", 1},
	{"onboot", "s until the first onboot container runs", 1},
	{"containerd", "s until containerd listens", 1},
	{"service", "s until the first service runs", 1},
	{"mine", "s from /init to the first service", 1},
	{"MemTotal", "MiB MemTotal", 1024},
	{"MemAvailable", "MiB MemAvailable, 5 s later", 1024},
	{"used", "MiB the difference", 1024},
}

func benchTable(systems []*benched) string {
	var b strings.Builder
	line := func(title string, cell func(*benched) string) {
		fmt.Fprintf(&b, "| %s |", title)
		for _, s := range systems {
			fmt.Fprintf(&b, " %s |", cell(s))
		}
		b.WriteByte('\n')
	}
	line("", func(s *benched) string { return s.name })
	line("---", func(*benched) string { return "---:" })
	for _, row := range benchRows {
		line(row.title, func(s *benched) string {
			return fmt.Sprintf("%.2f (%.2f)", median(s.values[row.name])/row.unit, slices.Min(s.values[row.name])/row.unit)
		})
	}
	line("MiB of files in whole pages", func(s *benched) string { return mib(s.files) })
	line("MiB of the initrd", func(s *benched) string { return mib(s.initrd) })
	for _, row := range [][2]string{{"service", "lkx's time to the first service / this"}, {"mine", "lkx's time from /init on / this"}} {
		line(row[1], func(s *benched) string {
			ours, this := systems[0].values[row[0]], s.values[row[0]]
			return fmt.Sprintf("%.2f (%.2f)", median(ours)/median(this), slices.Min(ours)/slices.Min(this))
		})
	}
	line("used memory / files", func(s *benched) string { return fmt.Sprintf("%.2f", median(s.values["used"])*1024/float64(s.files)) })
	return b.String()
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

func mib(n int64) string { return fmt.Sprintf("%.2f", float64(n)/(1<<20)) }

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// inMemory is how many bytes the files of an archive take in memory, in whole
// pages, but those in boot/, which an initrd has not.
func inMemory(t *testing.T, name string) (n int64) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const page = 4096
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == reg && !strings.HasPrefix(h.Name, "boot/") {
			n += int64(math.Ceil(float64(h.Size)/page)) * page
		}
	}
}

// artifacts is a table of the sizes of examples/minimal.yml in all formats.
func artifacts(t *testing.T, e env) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| format | files, MiB |\n|---|---|\n")
	store := t.TempDir()
	_, list, _ := strings.Cut(ok(t, e.lkx, "formats"), "\n") // the first line has titles
	for line := range strings.Lines(list) {
		format, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		out := t.TempDir()
		text, err := run(t, e.lkx, "build", "--progress", "quiet", "--store", store, "--layout", e.images, "-f", format, "-o", out, "../examples/minimal.yml")
		if err != nil {
			t.Logf("%s: %s", format, text) // not all are for this architecture
			continue
		}
		entries, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		for _, f := range entries {
			if !f.IsDir() {
				files = append(files, fmt.Sprintf("%s %s", strings.TrimPrefix(f.Name(), "minimal"), mib(size(t, filepath.Join(out, f.Name())))))
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", format, strings.Join(files, ", "))
	}
	return b.String()
}
