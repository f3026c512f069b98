package e2e

import (
	"strconv"
	"strings"
	"testing"
)

// TestIsolation boots services that try what they may not, and what they may.
func TestIsolation(t *testing.T) {
	e := setup(t)
	out := strings.ReplaceAll(boot(t, e, "testdata/isolation.yml", "--disk", blank(t, "16M"), "--timeout", "4m"), "\r", "")

	t.Run("namespaces", func(t *testing.T) {
		for _, n := range []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"} {
			if ns := group(t, out, "inner "+n+`: (\S+)`); ns == group(t, out, "outer "+n+`: (\S+)`) {
				t.Errorf("the service has the system's namespace %s", ns)
			}
		}
		contains(t, out,
			", inside, 0::/, links lo\n", "spaces: forward 1, msgmax 4321, ls: /sys/fs/cgroup/services: No such file",
			"system: msgmax 8192, cgroup 0::/services/steady\n")
		if n := number(t, out, `spaces: pid 1 of (\d+)`); n > 6 {
			t.Errorf("the service sees %d processes", n)
		}
	})
	limited(t, out)
	t.Run("capabilities", func(t *testing.T) {
		contains(t, out,
			"[bare] chown: /tmp/x: Operation not permitted", "[bare] hostname: sethostname: Operation not permitted", "[bare] mount: permission denied",
			"able: chown works")
	})
	t.Run("devices", func(t *testing.T) {
		contains(t, out, "able: mknod works", "[able] head: /tmp/vda: Operation not permitted")
	})
	t.Run("seccomp", func(t *testing.T) {
		contains(t, out, "bare: user namespace made", "[confined] unshare: unshare(0x10000000): Operation not permitted", "[confined] Seccomp:\t2")
	})
	t.Run("defaults", func(t *testing.T) {
		contains(t, out, "bare: 0 bytes of memory, NoNewPrivs:\t1", "[bare] sh: can't create /proc/sys/kernel/panic: Read-only file system")
	})
	t.Run("settings", func(t *testing.T) {
		contains(t, out,
			"[strict] touch: /x: Read-only file system", "[strict] touch: /tmp/x: Read-only file system",
			"strict: files 77, badness 500, masked 0\n", "strict: scratch has 1048576\n", "strict: volume can be written")
	})
	t.Run("users", func(t *testing.T) { mappedUsers(t, out) })
}

// limited looks at containers that reach the limits of their cgroups.
func limited(t *testing.T, out string) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		contains(t, out,
			"lkx: onboot 000-eats: killed: out of memory (limit 16 MiB)",
			"lkx: service hog: killed: out of memory (limit 32 MiB); not started again", "system: steady is as it was")
		if strings.Contains(out, "lkx: service steady: exited") || strings.Contains(out, "lkx: service steady: killed") {
			t.Error("another service ended, too")
		}
	})
	t.Run("processor", func(t *testing.T) {
		// 20 are allowed; of an endless loop without a limit, it would be up to 100.
		// A slow machine may give it less.
		if n := number(t, out, `busy: (\d+) percent`); n < 1 || n > 30 {
			t.Errorf("the loop got %d percent of a processor", n)
		}
		if n := number(t, out, `throttled (\d+)`); n < 3 {
			t.Errorf("the loop was throttled %d times", n)
		}
	})
	t.Run("tasks", func(t *testing.T) {
		contains(t, out, "[forks] sh: can't fork: Resource temporarily unavailable")
	})
	t.Run("disk", func(t *testing.T) {
		contains(t, out, "disk: limits 254:0 rbps=1048576 ")
		if n := number(t, out, `disk: 4 MiB took (\d+) s`); n < 2 {
			t.Errorf("4 MiB took %d s at 1 MiB/s", n)
		}
	})
}

// mappedUsers looks at containers with user namespaces, from inside and outside.
func mappedUsers(t *testing.T, out string) {
	t.Helper()
	contains(t, out,
		"mapped: 0, 0 100000 65536 0 200000 65536", "mapped: root 0:0 0:0 0:0 \n", "mapped: links lo, 0::/\n",
		"[mapped] touch: /x: Read-only file system", "mapped: chown works",
		"mapped outside: Uid: 100000 100000 100000 100000 Gid: 200000 200000 200000 200000",
		"system: /owned/file 100000:200000\n", "system: /lib/mapped 100000:200000\n", "system: /lib/mapped/file 100005:200006\n",
		"writes: file 0\n", "own: file 7\n")
	// Ids that the build chose: for each container others, and not the system's.
	base := number(t, out, `own: 7 0 (\d+) 65536`)
	if base < 1<<16 || base%(1<<16) != 0 {
		t.Errorf("ids begin at %d", base)
	}
	outside := strconv.Itoa(base + 7)
	contains(t, out, "own outside: Uid: "+outside, "system: /lib/own "+outside+":"+strconv.Itoa(base)+"\n", "system: /lib/own/file "+outside+":")
	if other := number(t, out, `writes outside: Uid: (\d+)`); other < 1<<16 || other == base {
		t.Errorf("another container's root is %d, while the first's is %d", other, base)
	}
}

// number is the number in the first match of a pattern with one group.
func number(t *testing.T, out, pattern string) int {
	t.Helper()
	n, err := strconv.Atoi(group(t, out, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
