package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// forbidden are names of programs that a system in production does without.
var forbidden = map[string][]string{
	"a shell":           {"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "toybox", "zsh"},
	"a package manager": {"apk", "apt", "apt-get", "dnf", "dpkg", "gem", "microdnf", "npm", "opkg", "pacman", "pip", "pip3", "rpm", "yum", "zypper"},
	"an interpreter":    {"awk", "gawk", "lua", "mawk", "node", "perl", "php", "python", "python3", "ruby", "tclsh"},
	"a compiler":        {"as", "c++", "cc", "clang", "g++", "gcc", "go", "ld", "make", "rustc", "tcc"},
}

// packageData are directories in which package managers keep what they know.
var packageData = []string{"etc/apt", "lib/apk", "usr/lib/sysimage/rpm", "var/lib/apt", "var/lib/dpkg", "var/lib/rpm"}

// isShell tells whether a program is a shell, whatever it is called: all of
// them know these variables of POSIX, and the large ones say what they are.
func isShell(program []byte) bool {
	for _, text := range []string{"BusyBox v", "GNU bash", "toybox"} {
		if bytes.Contains(program, []byte(text)) {
			return true
		}
	}
	return bytes.Contains(program, []byte("OPTIND")) && bytes.Contains(program, []byte("PS4"))
}

// audit tells what an archive of a root file system holds that production
// should do without.
func audit(r io.Reader) (faults []string, files int, err error) {
	for tr := tar.NewReader(r); ; files++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return faults, files, nil
		}
		if err != nil {
			return nil, 0, err
		}
		contents, err := io.ReadAll(tr)
		if err != nil {
			return nil, 0, err
		}
		for _, what := range faultsOf(h, contents) {
			faults = append(faults, strings.TrimSuffix(h.Name, "/")+": "+what)
		}
	}
}

// faultsOf is what is wrong with one entry of the archive.
func faultsOf(h *tar.Header, contents []byte) (faults []string) {
	name := strings.Trim(path.Clean(h.Name), "/")
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for what, names := range forbidden {
		if h.Typeflag != tar.TypeDir && slices.Contains(names, path.Base(name)) {
			add("the name of %s", what)
		}
	}
	for _, dir := range packageData {
		if name == dir || strings.HasSuffix(name, "/"+dir) {
			add("data of a package manager")
		}
	}
	switch {
	case bytes.HasPrefix(contents, []byte("#!")):
		add("a script")
	case bytes.HasPrefix(contents, []byte("\x7fELF")) && isShell(contents):
		add("a shell by its contents")
	}
	sticky := h.Typeflag == tar.TypeDir && h.Mode&0o1000 != 0
	if h.Mode&0o002 != 0 && h.Typeflag != tar.TypeSymlink && !sticky {
		add("all can write it (mode %04o)", h.Mode)
	}
	if h.Mode&0o6000 != 0 && h.Typeflag == tar.TypeReg {
		add("set-uid or set-gid (mode %04o)", h.Mode)
	}
	if h.PAXRecords["SCHILY.xattr.security.capability"] != "" {
		add("capabilities of a file")
	}
	return faults
}

// auditBuilt builds a manifest as a tar archive and audits it.
func auditBuilt(t *testing.T, e env, manifest string) (faults []string, files int) {
	t.Helper()
	out := t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "-f", "tar", "-o", out, manifest)
	f, err := os.Open(filepath.Join(out, strings.TrimSuffix(filepath.Base(manifest), ".yml")+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if faults, files, err = audit(f); err != nil {
		t.Fatal(err)
	}
	return faults, files
}

// TestProduction audits examples/production.yml, file by file, builds it on both
// roads, and boots it twice with one disk.
func TestProduction(t *testing.T) {
	e := setup(t)
	const manifest = "../examples/production.yml"
	faults, files := auditBuilt(t, e, manifest)
	for _, f := range faults {
		t.Error(f)
	}
	if files < 400 {
		t.Errorf("only %d files were looked at", files)
	}
	t.Logf("%d files", files)

	local, remote := t.TempDir(), t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(t.TempDir(), "store"), "--layout", e.images, "--arg", "LOG=console", "-o", local, manifest)
	ok(t, "docker", buildx(manifest, "--build-arg", "LOG=console", "--output", "type=local,dest="+remote)...)
	if d := cmp.Diff(sums(t, local), sums(t, remote)); d != "" {
		t.Errorf("buildx makes another system:\n%s", d)
	}
	disk := blank(t, "256M")
	settings := write(t, "settings.json", `{"site": {"entries": {"name": {"content": "here"}}}}`)
	for _, want := range []string{"made ext4, LABEL=data", "it has its file system, and is left alone"} {
		// It comes after redis, and so says that redis is healthy.
		out := guest(t, e, "--disk", disk, "--data", settings, "--expect", "hello from lkx: pid 1, uid 65534", filepath.Join(local, "production"))
		t.Logf("the console:\n%s", out)
		contains(t, out, want, "bytes of user data; 3 files written", "Ready to accept connections", "goodbye", "powering off now")
	}
}

// TestAudit shows that the audit finds what it is for.
func TestAudit(t *testing.T) {
	e := setup(t)
	faults, _ := auditBuilt(t, e, write(t, "os.yml", `
init: [ghcr.io/lkx-os/init:0.1]
services: [{name: shell, image: "ghcr.io/lkx-os/busybox:0.1", command: [sh]}]
files:
  - {path: usr/bin/tool, contents: "#!/bin/tool\n", mode: "4755"}
  - {path: etc/open, contents: "x", mode: "0666"}
  - {path: var/lib/dpkg/status, contents: "x", mode: "0644"}
`))
	all := strings.Join(faults, "\n") + "\n"
	contains(t, all,
		"/bin/sh: the name of a shell\n", "/bin/busybox: a shell by its contents\n", "/bin/dpkg: the name of a package manager\n",
		"usr/bin/tool: a script\n", "usr/bin/tool: set-uid or set-gid (mode 4755)\n", "etc/open: all can write it (mode 0666)\n",
		"var/lib/dpkg: data of a package manager\n")
	for _, shell := range []string{"/bin/sh", "/bin/bash"} {
		text, err := os.ReadFile(shell)
		if err != nil {
			t.Fatal(err)
		}
		if !isShell(text) {
			t.Errorf("%s is not taken for a shell", shell)
		}
	}
}
