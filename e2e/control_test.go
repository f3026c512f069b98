package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// server takes datagrams until the test ends.
type server struct {
	port int
	mu   sync.Mutex
	got  []string
}

func listen(t *testing.T) *server {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &server{port: conn.LocalAddr().(*net.UDPAddr).Port}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, string(b[:n]))
			s.mu.Unlock()
		}
	}()
	return s
}

// TestControl boots a system that is looked at and changed by lkxctl.
func TestControl(t *testing.T) {
	e := setup(t)
	syslog := listen(t)
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out,
		"--arg", "SYSLOG="+strconv.Itoa(syslog.port), "testdata/control.yml")
	console := guest(t, e, "--timeout", "8m", filepath.Join(out, "control"))
	t.Logf("the console:\n%s", console)
	contains(t, console,
		"lkx: waiting for onboot 001-hangs, 10s by now; its output is in /run/log/onboot/001-hangs.log",
		"onboot 001-hangs: killed: it was not done after 12s, which lkx.onboot-timeout gives",
		"] onboot: finished, failed", "] logs of onboot: network is up", "] web takes memory: yes",
		"] web was restarted: 1 status 137 (SIGKILL)", "] followed: some lines, 0 of the other stream", "] last of the flood: flood 20000",
		"lkx: service web: stop, as asked", "] web heard TERM", "] web is stopped",
		"] after lkx-services died: web stopped restarts 1, deaf has kept its pid, containerd running",
		"] containerd is pausing, deaf running with memory", "] lkxctl: start web: containerd is away: it does not listen on",
		"] after containerd died: deaf has kept its pid, restarts 0", "] web: running, pid ",
		`] lkxctl: restart wbe: there is no "wbe"`, `]   hint: did you mean "web"?`, "] lkxctl: restart 000-network: it is no service",
		`] lkxctl: there is no command "frob"`, "] lkxctl: the system does not answer: unix:///run/nothing.sock", "]   hint: in a container, bind /run/lkx",
		"] over vsock: deaf running", "] kept: /var/log/kept/flood.out.log /var/log/kept/flood.out.log.1 /var/log/kept/flood.out.log.2",
		"lines left out here, not in the log", "lkx: poweroff, as asked", "lkx: service deaf: still there after 3s; killing it", "onshutdown ran",
	)
	if codes := regexp.MustCompile(`exit code (\d)`).FindAllString(console, -1); strings.Join(codes, " ") != "exit code 1 exit code 1 exit code 2 exit code 3" {
		t.Errorf("lkxctl ended with %q", codes)
	}
	// 20000 lines at once do not take the console, and a service that ends at
	// once is given ever more time.
	if n := strings.Count(console, "[flood] "); n > 2000 {
		t.Errorf("the console has %d lines of flood", n)
	}
	if n := strings.Count(console, "[fails] about to fail"); n < 3 || n > 20 {
		t.Errorf("fails ran %d times", n)
	}
	inOrder(t, console, "lkx: poweroff, as asked", "deaf heard TERM", "deaf: still there after 3s; killing it", "onshutdown ran", "lkx: powering off now")
	syslog.mu.Lock()
	defer syslog.mu.Unlock()
	sent := strings.Join(syslog.got, "\n")
	for _, want := range []string{
		`(?m)^<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\S+ lkx-525400123456 web - - - tick 1$`, `(?m)^<29>1 \S+ \S+ web - - - tock 1$`,
		`(?m)^<29>1 \S+ \S+ onboot.000-network - - - network is up$`, `(?m) lkx - - - lkx: service web: stop, as asked$`,
	} {
		if !regexp.MustCompile(want).MatchString(sent) {
			t.Errorf("the syslog server did not get %s, but %d messages, the first of which are\n%.2000s", want, len(syslog.got), sent)
		}
	}
}

const keys = bootHead + `
services:
  - name: web
    image: ghcr.io/lkx-os/busybox:0.1
    command: [sh, -c, "trap 'echo web heard TERM; exit 0' TERM; while true; do sleep 0.2; done"]
onshutdown:
  - name: last
    image: ghcr.io/lkx-os/busybox:0.1
    command: [sh, -c, "echo onshutdown ran"]
`

// TestPowerKeys reboots a system with Ctrl-Alt-Del, and then presses its power
// button, at QEMU's monitor.
func TestPowerKeys(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	manifest := write(t, "keys.yml", fmt.Sprintf(keys, ""))
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, manifest)
	cmd := exec.CommandContext(t.Context(), e.lkx, "run", "--timeout", "6m", filepath.Join(out, "keys"))
	monitor, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	console := &screen{}
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Ctrl-a c goes from the console to the monitor.
	for i, command := range []string{"\x01csendkey ctrl-alt-delete\n", "system_powerdown\n"} {
		if !console.shows("lkx: 1 service running", i+1, 6*time.Minute) {
			break
		}
		if _, err := io.WriteString(monitor, command); err != nil {
			t.Error(err)
		}
	}
	err = cmd.Wait()
	t.Logf("the console:\n%s", console)
	if err != nil {
		t.Error(err)
	}
	one := []string{"lkx: 1 service running", "web heard TERM", "onshutdown ran"}
	inOrder(t, console.String(), slices.Concat(one, []string{"lkx: rebooting now"}, one, []string{"lkx: powering off now"})...)
}

// screen is a console that is watched.
type screen struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

// shows waits until text was shown so many times.
func (s *screen) shows(text string, times int, most time.Duration) bool {
	for end := time.Now().Add(most); strings.Count(s.String(), text) < times; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
