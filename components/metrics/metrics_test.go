package main

import (
	"bytes"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is what the kernel tells of a small machine, by the files' names.
var machine = map[string]string{
	"proc/stat": "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 100 200 300 400 500 600 700 800 0 0\nintr 55 1 2\nctxt 66\nbtime 1700000000\n" +
		"processes 77\nprocs_running 2\nprocs_blocked 1\nsoftirq 9 9\n",
	"proc/loadavg":         "0.25 0.50 1.00 1/100 1234\n",
	"proc/meminfo":         "MemTotal:        1000 kB\nActive(anon):      10 kB\nHugePages_Total:       3\n",
	"proc/vmstat":          "nr_free_pages 1\npgmajfault 5\noom_kill 2\n",
	"proc/sys/fs/file-nr":  "96\t0\t1048576\n",
	"proc/net/dev":         "Inter-|   Receive  |  Transmit\n face |bytes packets\n  eth0:11 12 13 14 0 0 0 0 21 22 23 24 0 0 0 0\n",
	"proc/diskstats":       " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11 0 0 0 0\n 254 1 vda1 1 2 3 4 5 6 7 8 9 10 11 0 0 0 0\n 7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n",
	"proc/pressure/cpu":    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
	"proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
	// The name of process 7 is one that a careless reader stumbles over.
	"proc/7/stat":                                   "7 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 2500 0 0\n",
	"proc/8/stat":                                   "8 (d) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 3500 0 0\n",
	"sys/class/net/eth0/operstate":                  "up\n",
	"sys/block/vda/size":                            "100\n",
	"sys/fs/cgroup/services/web/cgroup.procs":       "8\n7\n0\n",
	"sys/fs/cgroup/services/web/cpu.stat":           "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n",
	"sys/fs/cgroup/services/web/memory.current":     "4096\n",
	"sys/fs/cgroup/services/web/memory.max":         "8192\n",
	"sys/fs/cgroup/services/web/memory.stat":        "anon 1024\nfile 3072\ninactive_file 1000\n",
	"sys/fs/cgroup/services/web/memory.events":      "low 0\noom 3\noom_kill 1\n",
	"sys/fs/cgroup/services/web/pids.current":       "5\n",
	"sys/fs/cgroup/services/web/pids.max":           "max\n",
	"sys/fs/cgroup/services/web/io.stat":            "254:0 rbytes=512 wbytes=1024 rios=1 wios=2\n",
	"sys/fs/cgroup/services/cgroup.procs":           "",
	"sys/fs/cgroup/onboot/000-done/cgroup.procs":    "",
	"sys/fs/cgroup/system.slice/other/cgroup.procs": "1\n",
}

// told is what a metrics server says of the files, without comments.
func told(t *testing.T, files map[string]string) (samples []string, logged string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mounts := "1 0 0:1 / / ro - overlay overlay ro\n" +
		"2 1 254:1 / DIR/host ro,relatime - ext4 /dev/vda1 rw\n" +
		"3 2 254:1 /x DIR/host/again rw - ext4 /dev/vda1 rw\n" +
		"4 2 0:5 / DIR/host/proc rw - proc proc rw\n" +
		"5 2 0:6 / DIR/host/containers/services/x/rootfs/dev rw - tmpfs tmpfs rw\n"
	for name, text := range map[string]string{"proc/self/mountinfo": strings.ReplaceAll(mounts, "DIR", dir), "host/x": ""} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	server := httptest.NewServer(handler(sources{filepath.Join(dir, "proc"), filepath.Join(dir, "sys"), filepath.Join(dir, "host")}, log.New(&buf, "", 0)))
	defer server.Close()
	body := get(t, server.URL+"/metrics")
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") {
			samples = append(samples, strings.TrimSpace(line))
		}
	}
	return samples, buf.String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

func TestMetrics(t *testing.T) {
	samples, logged := told(t, machine)
	if logged != "" {
		t.Errorf("it says %s", logged)
	}
	for _, want := range []string{
		`node_cpu_seconds_total{cpu="0",mode="user"} 1`, `node_cpu_seconds_total{cpu="0",mode="steal"} 8`,
		"node_intr_total 55", "node_boot_time_seconds 1.7e+09", "node_procs_blocked 1",
		"node_load5 0.5", "node_memory_MemTotal_bytes 1.024e+06", "node_memory_Active_anon_bytes 10240", "node_memory_HugePages_Total 3",
		"node_vmstat_oom_kill 2", "node_filefd_maximum 1.048576e+06",
		`node_network_receive_bytes_total{device="eth0"} 11`, `node_network_transmit_drop_total{device="eth0"} 24`, `node_network_up{device="eth0"} 1`,
		`node_disk_read_bytes_total{device="vda"} 1536`, `node_disk_io_time_seconds_total{device="vda"} 0.01`,
		"node_pressure_cpu_waiting_seconds_total 1.5", "node_pressure_memory_stalled_seconds_total 0.5",
		`container_cpu_usage_seconds_total{id="/services/web",name="web"} 3`, `container_memory_usage_bytes{id="/services/web",name="web"} 4096`,
		`container_memory_working_set_bytes{id="/services/web",name="web"} 3096`, `container_spec_memory_limit_bytes{id="/services/web",name="web"} 8192`,
		`container_oom_events_total{id="/services/web",name="web"} 1`, `container_threads{id="/services/web",name="web"} 5`,
		`container_fs_writes_bytes_total{id="/services/web",name="web",device="254:0"} 1024`,
		`container_processes{id="/services/web",name="web"} 3`, `container_start_time_seconds{id="/services/web",name="web"} 1.700000025e+09`,
		`container_processes{id="/onboot/000-done",name="000-done"} 0`,
	} {
		if !slices.Contains(samples, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(samples, "\n"))
		}
	}
	sizes := 0
	for _, s := range samples {
		for _, no := range []string{"vda1\"} ", "loop0", "container_threads_max", "cpu_stalled", "other", "again", "rootfs"} {
			if strings.Contains(s, no) {
				t.Errorf("there is %s", s)
			}
		}
		if strings.HasPrefix(s, `node_filesystem_size_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/"} `) {
			sizes++
		}
	}
	if sizes != 1 {
		t.Errorf("the file system is there %d times", sizes)
	}
}

// TestMissing has a kernel that tells one thing less.
func TestMissing(t *testing.T) {
	files := maps.Clone(machine)
	delete(files, "proc/loadavg")
	delete(files, "proc/pressure/cpu") // built without, or psi=0
	samples, logged := told(t, files)
	if !strings.Contains(logged, "loadavg: open ") || strings.Contains(logged, "pressure") {
		t.Errorf("it says %q", logged)
	}
	for _, want := range []string{
		`node_scrape_collector_success{collector="loadavg"} 0`, `node_scrape_collector_success{collector="pressure"} 1`,
		"node_memory_MemTotal_bytes 1.024e+06",
	} {
		if !slices.Contains(samples, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestPage holds the text format: samples of a family together, labels escaped.
func TestPage(t *testing.T) {
	p := &page{}
	p.add("a_total", counter, "As.", 1, "x", "q\"\\\n", "y", "2")
	p.add("b", gauge, "Bs.", 0.5)
	p.add("a_total", counter, "As.", 2e9, "x", "")
	var out strings.Builder
	if _, err := p.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	want := "# HELP a_total As.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"2\"} 1\na_total{x=\"\"} 2e+09\n# HELP b Bs.\n# TYPE b gauge\nb 0.5\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
