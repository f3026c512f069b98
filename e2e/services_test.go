package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// servicesManifest is of a system with real services. Its ssh servers are three:
// one as it comes, whose keys are the metadata's, one whose logins run something
// else, and one with a shell.
func servicesManifest(key string) string {
	return fmt.Sprintf(bootHead, "") + "onboot:\n" +
		onboot("network", "busybox", "sh", "-c", "ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.2.2") +
		"    capabilities: [CAP_NET_ADMIN]\n" +
		onboot("metadata", "metadata", "/usr/bin/metadata") +
		onboot("format", "format", "/usr/bin/format") +
		onboot("mount", "mount", "/usr/bin/mountie", "-owner", "999:999", "LABEL=data", "/var/lib/data") + `
services:
  - name: sshd
    image: ghcr.io/lkx-os/sshd:0.1
    binds.add: ["/var/lib/data/ssh:/etc/ssh"]
    runtime: {mkdir: ["/var/lib/data/ssh"]}
  - name: fingerprint # with what LinuxKit's label says
    image: ghcr.io/lkx-os/sshd:0.1
    readonly: false
    pid: host
    capabilities: [all]
    binds:
      - /root/.ssh:/root/.ssh
      - /etc/resolv.conf:/etc/resolv.conf
      - /run:/run
      - /tmp:/tmp
      - /etc:/hostroot/etc
      - /containers:/containers
      - /var/log:/var/log
      - /dev:/dev
      - /sys:/sys
    command: [/usr/bin/lkx-sshd, -login, "/usr/bin/ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub", -p, "2223"]
  - name: shell
    image: ghcr.io/lkx-os/sshd-debug:0.1
    command: [/usr/bin/lkx-sshd, -p, "2222"]
  - name: nginx
    image: ghcr.io/lkx-os/nginx:0.1
    binds: ["/etc/site:/usr/share/nginx/html:ro"]
  - name: redis
    image: ghcr.io/lkx-os/redis:0.1
    binds: ["/var/lib/data:/data"]
  - name: metrics
    image: ghcr.io/lkx-os/metrics:0.1
  - name: getty
    image: ghcr.io/lkx-os/getty:0.1
files:
  - {path: etc/site/index.html, contents: "a page of the site\n", mode: "0644"}
  - {path: root/.ssh/authorized_keys, contents: "` + key + `", mode: "0600"}
  - path: etc/getty.shadow # openssl passwd -6 -salt abcdefgh hallo
    contents: 'root:$6$abcdefgh$XzzuTJkMqE0n3GxSZxB/Wh88fD6k0oiDEKSuH.A0GozLv0MvkFW5g5HM/MmWIVapkmopT7xXAIGhIwbIHtmFI1:17322:0:::::'
    mode: "0600"
`
}

// servicePorts are those of the guest that are published.
var servicePorts = []string{"22", "2222", "2223", "80", "6379", "9100"}

// TestServices boots real services, and uses them from outside, and from the
// console.
func TestServices(t *testing.T) {
	e := setup(t)
	dir := t.TempDir()
	keys := map[string]string{} // public keys, by their files
	for _, name := range []string{"metadata", "manifest", "stranger"} {
		file := filepath.Join(dir, name)
		ok(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file)
		text, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = strings.TrimSpace(string(text))
	}
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(dir, "store"), "--layout", e.images, "-o", dir,
		write(t, "services.yml", servicesManifest(keys["manifest"])))
	at := map[string]string{} // addresses here, by ports of the guest
	args := []string{
		"--data", write(t, "user-data", "#cloud-config\nssh_authorized_keys: [\""+keys["metadata"]+"\"]\n"),
		"--disk", blank(t, "64M"),
	}
	for _, p := range servicePorts {
		at[p] = freePort(t)
		args = append(args, "--publish", at[p]+":"+p)
	}
	args = append(args, filepath.Join(dir, "services"))

	c := startGuest(t, e, "lkx: 7 services running", args...)
	for _, port := range []string{"22", "2222", "2223"} {
		c.has("Server listening on :: port " + port + ".")
	}
	c.has("Ready to accept connections")
	s := sshClient{t, dir, at}
	hostKey := s.logins()
	s.isolation()
	webAndRedis(t, at)
	restartShows(t, s, at)
	consoleLogin(c)
	c.say("kill -USR2 1\n")
	c.expect("lkx: powering off now")
	c.wait()
	if os.Getenv("LKX_TEST_FULL") == "" {
		return
	}
	c = startGuest(t, e, "lkx: 7 services running", args...)
	c.has("Server listening on :: port 22.")
	if again := s.hostKey("22"); again != hostKey {
		t.Errorf("the host key on the disk was %q, and is %q after a boot", hostKey, again)
	}
	c.say("\x01x") // QEMU's: pulls the plug
	c.wait()
}

// freePort is an address here that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// sshClient is the ssh program with the keys in dir.
type sshClient struct {
	t   *testing.T
	dir string
	at  map[string]string
}

func (s sshClient) run(port, key, command string, options ...string) (string, error) {
	_, local, _ := strings.Cut(s.at[port], ":")
	args := append([]string{
		"-F", "none", "-i", filepath.Join(s.dir, key), "-p", local, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60",
	}, options...)
	out, err := run(s.t, "ssh", append(args, "root@127.0.0.1", command)...)
	return strings.ReplaceAll(out, "\r", ""), err
}

func (s sshClient) ok(port, key, command string, options ...string) string {
	s.t.Helper()
	out, err := s.run(port, key, command, options...)
	if err != nil {
		s.t.Fatalf("ssh to port %s, %q: %v\n%s", port, command, err, out)
	}
	return out
}

// hostKey is the key by which a server is known.
func (s sshClient) hostKey(port string) string {
	s.t.Helper()
	_, local, _ := strings.Cut(s.at[port], ":")
	out := ok(s.t, "ssh-keyscan", "-t", "ed25519", "-T", "60", "-p", local, "127.0.0.1")
	return group(s.t, out, `(ssh-ed25519 \S+)`)
}

// logins logs in where that works, and where it must not. It returns the first
// server's host key.
func (s sshClient) logins() string {
	t := s.t
	for _, refused := range [][]string{
		{"-o", "PreferredAuthentications=publickey"},
		{"-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"},
	} {
		out, err := s.run("22", "stranger", "ls", refused...)
		if err == nil || !strings.Contains(out, "Permission denied (publickey)") {
			t.Errorf("a stranger with %q: %v\n%s", refused, err, out)
		}
	}
	key := s.hostKey("22")
	own := ok(t, "ssh-keygen", "-l", "-f", write(t, "key.pub", s.hostKey("2223")))
	contains(t, s.ok("2223", "metadata", ""), strings.Fields(own)[1])

	shell := func(command string, options ...string) string { return s.ok("2222", "manifest", command, options...) }
	contains(t, shell("id; grep -c . /host/etc/getty.shadow; ps -o args"), "uid=0(root)", "\n1\n", "/init")
	contains(t, shell("tty", "-tt"), "/dev/pts/")
	// The server as it comes has no shell but lkxctl, if the init has that.
	out, err := s.run("22", "metadata", "lkxctl ls")
	if strings.Contains(shell("test -x /host/usr/bin/lkxctl && echo there; true"), "there") {
		if err != nil {
			t.Errorf("lkxctl: %v", err)
		}
		contains(t, out, "nginx", "fingerprint")
	} else if err == nil || !strings.Contains(out, "neither lkxctl nor a shell") {
		t.Errorf("without lkxctl: %v\n%s", err, out)
	}
	return key
}

// isolation holds what the labels of the images promise.
func (s sshClient) isolation() {
	for name, caps := range map[string]string{
		"nginx":        "0000000000000400", // CAP_NET_BIND_SERVICE is bit 10 (capabilities(7))
		"redis-server": "0000000000000000",
		"metrics":      "0000000000000000",
	} {
		out := s.ok("2222", "manifest", "set -- $(pidof "+name+`); p=$1; cat /proc/$p/status; touch /proc/$p/root/x || true`)
		contains(s.t, out, "CapBnd:\t"+caps, "NoNewPrivs:\t1", "Seccomp:\t2", "Read-only file system")
		if strings.Contains(out, "Uid:\t0") {
			s.t.Errorf("%s is root:\n%s", name, out)
		}
	}
}

// fetch is the body of a page. Its server may still be starting.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := (&http.Client{Timeout: time.Minute}).Get(url)
	for end := time.Now().Add(time.Minute); err != nil; resp, err = http.Get(url) {
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

func webAndRedis(t *testing.T, at map[string]string) {
	t.Helper()
	if page := fetch(t, "http://"+at["80"]+"/"); page != "a page of the site\n" {
		t.Errorf("nginx says %q", page)
	}
	conn, err := net.DialTimeout("tcp", at["6379"], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	want := "+PONG\r\n+OK\r\n$5\r\nvalue\r\n+OK\r\n" // the last is of a write to the disk
	got := make([]byte, len(want))
	if _, err := io.WriteString(conn, "PING\r\nSET key value\r\nGET key\r\nSAVE\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("redis says %q, %v", got, err)
	}
}

// restartShows scrapes the metrics before and after a service is killed.
func restartShows(t *testing.T, s sshClient, at map[string]string) {
	t.Helper()
	scrape := func() string { return fetch(t, "http://"+at["9100"]+"/metrics") }
	page := scrape()
	for _, name := range []string{"sshd", "fingerprint", "shell", "nginx", "redis", "metrics", "getty"} {
		contains(t, page, fmt.Sprintf(`container_memory_usage_bytes{id="/services/%s",name="%s"} `, name, name))
	}
	contains(t, page,
		`node_filesystem_size_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/var/lib/data"} `,
		`node_network_up{device="eth0"} 1`, `node_disk_written_bytes_total{device="vda"} `, "node_pressure_memory_stalled_seconds_total ",
	)
	if regexp.MustCompile(`node_scrape_collector_success\{.*\} 0`).MatchString(page) {
		t.Errorf("something could not be read:\n%s", page)
	}
	started := `container_start_time_seconds\{id="/services/redis",name="redis"\} (\S+)`
	before := group(t, page, started)
	s.ok("2222", "manifest", "kill -9 $(pidof redis-server)")
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		if m := regexp.MustCompile(started).FindStringSubmatch(scrape()); m != nil && m[1] != before {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the metrics do not show that redis was started again")
		}
	}
}

// consoleLogin logs in at the console, as a person would.
func consoleLogin(c *console) {
	c.t.Helper()
	c.say("\n")
	c.expect("login: ")
	c.say("root\n")
	c.expect("Password: ")
	c.say("wrong\n")
	c.expect("Login incorrect")
	c.expect("login: ")
	c.say("root\n")
	c.expect("Password: ")
	c.say("hallo\n")
	c.expect(":~# ")
	c.say("echo $TERM on $(tty), $(stty size)\n")
	c.expect("vt220 on /dev/ttyS0, 24 80")
	c.expect("# ")
	c.say("sleep 1000; echo status $?\n") // ctrl-c needs a session with this terminal
	time.Sleep(time.Second)
	c.say("\x03")
	c.expect("# ")
	c.say("sleep 1001 &\n")
	c.expect("# ")
	c.say("jobs\n")
	c.expect("Running")
	c.expect("# ")
	// Nothing has to feed the kernel's random numbers: they were there before
	// the services were.
	c.say("dmesg | grep -o 'crng init don.'; head -c 16 /dev/random | wc -c\n")
	c.expect("crng init done\r\n16\r\n")
	c.expect("# ")
}

// console is a guest that runs, with its console.
type console struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Writer
	mu   sync.Mutex
	text bytes.Buffer
	seen int // what was expected so far ends here
	done chan error
}

// Write is for what the guest shows.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *console) shows() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// startGuest starts a guest and waits until it shows ready. Like [guest] it does so
// once more if the emulator stalls.
func startGuest(t *testing.T, e env, ready string, args ...string) *console {
	t.Helper()
	for range 2 {
		c := &console{t: t, done: make(chan error, 1)}
		c.cmd = exec.CommandContext(t.Context(), e.lkx, append([]string{"run", "--timeout", "8m"}, args...)...)
		c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) } // QEMU ends with lkx
		c.cmd.WaitDelay = 10 * time.Second
		c.cmd.Stdout, c.cmd.Stderr = c, c
		in, err := c.cmd.StdinPipe()
		if err == nil {
			c.in = in
			err = c.cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() { c.done <- c.cmd.Wait() }()
		if c.await(ready, true) {
			return c
		}
		t.Logf("once more, the emulator stalled:\n%s", c.shows())
		_ = c.cmd.Process.Signal(os.Interrupt)
		<-c.done
	}
	t.Fatal("the emulator stalled twice")
	return nil
}

// await waits for want behind what was expected before; false if the guest
// stalled, where that may be.
func (c *console) await(want string, stall bool) bool {
	c.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		text := c.shows()
		if i := strings.Index(text[c.seen:], want); i >= 0 {
			c.seen += i + len(want)
			return true
		}
		late := time.Now().After(end)
		if stall && (text != "" || late) && stalled(text) {
			return false
		}
		select {
		case err := <-c.done:
			c.t.Fatalf("the guest ended (%v) before it showed %q:\n%s", err, want, text)
		default:
		}
		if late {
			c.t.Fatalf("no %q on the console:\n%s", want, text)
		}
	}
}

// has waits until the guest has shown want at some time.
func (c *console) has(want string) {
	c.t.Helper()
	seen := c.seen
	c.seen = 0
	c.await(want, false)
	c.seen = seen
}

func (c *console) expect(want string) {
	c.t.Helper()
	c.await(want, false)
}

// say types at the console.
func (c *console) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, text); err != nil {
		c.t.Fatalf("typing %q: %v", text, err)
	}
}

// wait waits until the guest is off.
func (c *console) wait() {
	c.t.Helper()
	select {
	case err := <-c.done:
		c.t.Logf("the console:\n%s", c.shows())
		if err != nil {
			c.t.Errorf("lkx run: %v", err)
		}
	case <-time.After(2 * time.Minute):
		c.t.Fatalf("the guest is not off:\n%s", c.shows())
	}
}
