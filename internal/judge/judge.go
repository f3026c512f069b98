// Package judge has other programs look at what we wrote, in tests.
package judge

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// Run runs a program, which must succeed, and returns what it printed. Where it
// is not installed the test is skipped; in the full run, LKX_TEST_E2E, it fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return Feed(t, nil, name, args...)
}

// Feed is Run with standard input.
func Feed(t testing.TB, stdin []byte, name string, args ...string) string {
	t.Helper()
	Need(t, name)
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	// Nothing of the user's changes what is printed.
	cmd.Env = []string{"TZ=UTC", "LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Need ends the test unless a program is installed, as Run does.
func Need(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("LKX_TEST_E2E") != "" {
			t.Fatal(err)
		}
		t.Skip(name + " is not installed")
	}
}
