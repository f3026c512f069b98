package e2e

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// export writes the root file system of a component's image to a tar archive.
func export(t *testing.T, e env, image string) (archive string) {
	t.Helper()
	archive = filepath.Join(t.TempDir(), "image.tar")
	ok(t, filepath.Join(filepath.Dir(e.lkx), "crane"), "export", e.registry+"/lkx-os/"+image+":0.1", archive)
	return archive
}

// program takes a file out of a component's image.
func program(t *testing.T, e env, image, name string) string {
	t.Helper()
	return ok(t, "tar", "-xOf", export(t, e, image), name)
}

// standInImage is the name of the image that standIn makes.
const standInImage = "nowhere.example/linuxkit-init:1"

// standIn makes an image with what LinuxKit's init image has: an init, the
// program "service" with a link to it, and busybox. The programs are those of
// testdata/linuxkit, which do what LinuxKit's do. LinuxKit's runc and containerd
// images bring links to that program; so do ours.
func standIn(t *testing.T, e env) (layout string) {
	t.Helper()
	bin := build(t, "testdata/linuxkit", "./init", "./service")
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(bin, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var layer []tar.Header
	for _, dir := range []string{"bin", "dev", "etc", "etc/init.d", "mnt", "proc", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "var"} {
		layer = append(layer, tar.Header{Name: dir + "/", Typeflag: dirT, Mode: 0o755})
	}
	for name, contents := range map[string]string{
		"init": read("init"), "usr/bin/service": read("service"), "bin/busybox": program(t, e, "busybox", "bin/busybox"),
		"etc/init.d/000-issue": "#!/bin/sh\necho Welcome to the stand-in\n",
	} {
		layer = append(layer, tar.Header{Name: name, Typeflag: reg, Mode: 0o755, Uname: contents})
	}
	for name, link := range map[string]string{
		"bin/sh": "busybox", "sbin/modprobe": "/bin/busybox", "sbin/mdev": "/bin/busybox", "sbin/hwclock": "/bin/busybox",
		"sbin/ip": "/bin/busybox", "etc/init.d/005-volumes": "/usr/bin/service",
	} {
		layer = append(layer, tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: link})
	}
	return imageLayout(t, standInImage, layer)
}

// TestLinuxKitInit boots what lkx builds with an init that does what LinuxKit's
// does, and with our runc and containerd.
func TestLinuxKitInit(t *testing.T) {
	e := setup(t)
	layout, out := standIn(t, e), t.TempDir()
	ok(t, e.lkx, "build", "--progress", "quiet", "--store", filepath.Join(out, "store"), "--layout", e.images, "--layout", layout,
		"-o", out, "testdata/linuxkit.yml")
	console := guest(t, e, filepath.Join(out, "linuxkit"))
	t.Logf("the console:\n%s", console)
	contains(t, console,
		"Welcome to the stand-in",
		"onboot 000-first: from /containers/onboot/000-first", "first: volume is writable",
		"second: from the first", "second: namespace is bound", "second: cgroup is made", "third: read-only volume", "third: root is read-only",
		"service: from the first", "service: module virtio_pci", "service: address 127.0.0.1",
		"shutdown 000-last: from /containers/onshutdown/000-last", "last: onshutdown ran",
	)
	if strings.Contains(console, "stand-in service: ") || strings.Contains(console, "stand-in init: ") {
		t.Error("the stand-in had something to complain of")
	}
}

// TestLinuxKitLayout boots our init on a root file system that is laid out as
// LinuxKit's tool does it, by the test and not by lkx.
func TestLinuxKitLayout(t *testing.T) {
	e := setup(t)
	out := t.TempDir()
	l := newLayout(t, e)
	l.system("init", "runc", "containerd")
	l.volume("data", true)
	l.volume("fixed", false)
	const lower = "/containers/onboot/000-first/lower"
	l.container("containers/onboot/000-first", "", false, `echo first; head -1 /etc/hosts; echo written >/root/file; touch /x && echo overlay writable; test -d /made && echo directory made`, "data")
	l.container("containers/onboot/001-again", lower, false, `echo again: $(cat /root/file); test -e /x || echo an overlay of its own`, "data")
	l.container("containers/onboot/002-readonly", lower, true, `touch /x || echo read-only root; touch /root/y || echo read-only volume`, "fixed")
	l.container("containers/onshutdown/000-last", lower, false, `echo onshutdown ran`, "data")
	l.container("containers/services/probe", lower, false,
		`echo service: $(cat /root/file); test -e /host/ns/001-again && echo namespace bound; test -f /host/resolvconf/resolv.conf && echo resolver; kill -USR2 1; sleep 100`, "data")
	l.dirs("bin")
	l.text("bin/busybox", 0o755, program(t, e, "busybox", "bin/busybox"))
	for name, script := range map[string]string{
		"init.d/000-issue": "echo issue of $(busybox cat /etc/issue)", "init.d/007-between": "busybox test -d /containers/volumes/data/tmp/upper && echo between sees the volume",
		"init.d/015-after": "echo after onboot: $(busybox cat /containers/volumes/data/merged/file)", "init.d/030-late": "echo late",
		"shutdown.d/000-down": "echo down begins", "shutdown.d/020-down": "echo down ends",
	} {
		l.text("etc/"+name, 0o755, "#!/bin/busybox sh\n"+script+"\n")
	}
	l.text("etc/init.d/001-script", 0o755, "#!/missing/sh\necho no\n")
	l.text("etc/issue", 0o644, "LinuxKit's layout\n")
	l.write(filepath.Join(out, "os"), "console=ttyS0 quiet lkx.log=console lkx.onboot=poweroff")
	console := guest(t, e, filepath.Join(out, "os"))
	t.Logf("the console:\n%s", console)
	contains(t, console,
		"lkx: /etc/init.d/001-script: passed over: it is a script for /missing/sh", "[000-first] 127.0.0.1", "overlay writable", "directory made",
		"an overlay of its own", "read-only root", "read-only volume", "[probe] namespace bound", "[probe] resolver", "late", "lkx: powering off now",
	)
	inOrder(t, console, "issue of LinuxKit's layout", "between sees the volume", "[000-first] first", "[001-again] again: written",
		"after onboot: written", "[probe] service: written", "down begins", "[000-last] onshutdown ran", "down ends")
}
