package tarball

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/lkx-os/lkx/tree"
)

// TestByJudge lists an archive with tar(1).
func TestByJudge(t *testing.T) {
	var b tree.Builder
	long := strings.Repeat("long/", 40) + "name"
	for _, e := range []tree.Entry{
		{Path: "dir", Mode: tree.TypeDir | 0o1750, UID: 1, GID: 2},
		{Path: "dir/file", Mode: tree.TypeRegular | 0o4755, UID: 1 << 31, Size: 5, Xattrs: map[string]string{"user.b": "2", "security.capability": "\x01\x00"}},
		{Path: "link", Mode: tree.TypeSymlink | 0o777, Link: "dir/file"},
		{Path: "null", Mode: tree.TypeChar | 0o666, Rdev: tree.Makedev(1, 3)},
		{Path: "disk", Mode: tree.TypeBlock | 0o660, Rdev: tree.Makedev(8, 1)},
		{Path: "fifo", Mode: tree.TypeFIFO | 0o600},
		{Path: long, Mode: tree.TypeRegular | 0o644},
	} {
		if err := b.Put(e, tree.Bytes(strings.Repeat("x", int(e.Size)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Link("hard", "dir/file"); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := Write(&buf, b.Tree(), 86400); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := Write(&again, b.Tree(), 86400); err != nil || !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Errorf("a second archive differs (%v)", err)
	}
	cmd := exec.Command("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-tvvf", "-")
	cmd.Stdin, cmd.Env = &buf, []string{"TZ=UTC", "PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		got[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, want := range []string{
		"drwxr-x--T 1/2 0 1970-01-02 00:00 dir/",
		"-rwsr-xr-x* 2147483648/0 5 1970-01-02 00:00 dir/file",
		"x: 1 user.b", "x: 2 security.capability",
		"hrwsr-xr-x 2147483648/0 0 1970-01-02 00:00 hard link to dir/file",
		"lrwxrwxrwx 0/0 0 1970-01-02 00:00 link -> dir/file",
		"crw-rw-rw- 0/0 1,3 1970-01-02 00:00 null",
		"brw-rw---- 0/0 8,1 1970-01-02 00:00 disk",
		"prw------- 0/0 0 1970-01-02 00:00 fifo",
		"-rw-r--r-- 0/0 0 1970-01-02 00:00 " + long,
	} {
		if !got[want] {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
