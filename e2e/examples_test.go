package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// examples are those that are booted, with what their consoles must show; the
// quick ones always, the others by make test-full.
var examples = map[string]struct {
	quick bool
	shows string
}{
	"minimal":    {shows: "lkx: 1 service running"},
	"redis":      {quick: true, shows: "Ready to accept connections"},
	"services":   {shows: "[web] 127.0.0.1       localhost"},
	"site":       {shows: "[motd] Welcome."},
	"static-ip":  {shows: "inet 10.0.2.15/24"},
	"volumes":    {shows: "io.containerd.image.name"},
	"wireguard":  {quick: true, shows: "3 packets transmitted, 3 packets received"},
	"disk":       {shows: "boot number 1"},
	"encrypted":  {shows: "on /var/lib/secret"},
	"metadata":   {shows: "[uses] from-the-disk"},
	"swap":       {shows: "swap: on: /var/lib/data/swap"},
	"logging":    {shows: "Z talker.out "},
	"arch":       {shows: "lkx: 1 service running"},
	"getty":      {shows: ":~# "},
	"production": {shows: "lkx: 7 services running"}, // and TestProduction, always
	"cloud":      {shows: "metadata: none"},
	"nginx":      {shows: "lkx: 2 services running"},
	"sshd":       {shows: "new host key: 256 SHA256:"},
}

// TestExamples builds every example, and boots them.
func TestExamples(t *testing.T) {
	e := setup(t)
	names, err := filepath.Glob("../examples/*.yml")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d examples (%v)", len(names), err)
	}
	full := os.Getenv("LKX_TEST_FULL") != ""
	for _, manifest := range names {
		name := strings.TrimSuffix(filepath.Base(manifest), ".yml")
		t.Run(name, func(t *testing.T) {
			x, known := examples[name]
			if !known {
				t.Fatal("nothing is said of this example in the test")
			}
			out := t.TempDir()
			ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-o", out, manifest)
			if !x.quick && !full {
				return
			}
			args := append([]string{"--expect", x.shows}, disks(t, name)...)
			t.Logf("the console:\n%s", guest(t, e, append(args, filepath.Join(out, name))...))
		})
	}
}

// disks are the options for what an example wants attached.
func disks(t *testing.T, name string) []string {
	t.Helper()
	switch name {
	case "metadata":
		return []string{"--data", write(t, "settings.json", `{"site": {"entries": {"motd": {"content": "from-the-disk\n"}}}}`)}
	case "disk", "encrypted", "production", "sshd", "swap":
		return []string{"--disk", blank(t, "512M")}
	}
	return nil
}
