package e2e

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// layout is a root file system as LinuxKit's tool lays it out: a tar archive in
// which directories come again and again, that has no root directory, and in
// which images come before what the tool puts on top of them.
type layout struct {
	t      *testing.T
	e      env
	file   *os.File
	tar    *tar.Writer
	kernel string
}

func newLayout(t *testing.T, e env) *layout {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "rootfs.tar"))
	if err != nil {
		t.Fatal(err)
	}
	return &layout{t: t, e: e, file: f, tar: tar.NewWriter(f), kernel: program(t, e, "kernel", "kernel")}
}

func (l *layout) put(h tar.Header, contents string) {
	l.t.Helper()
	h.Size, h.Format = int64(len(contents)), tar.FormatPAX
	if err := l.tar.WriteHeader(&h); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.WriteString(l.tar, contents); err != nil {
		l.t.Fatal(err)
	}
}

func (l *layout) dirs(names ...string) {
	l.t.Helper()
	for _, name := range names {
		l.put(tar.Header{Name: name, Typeflag: dirT, Mode: 0o755}, "")
	}
}

func (l *layout) text(name string, mode int64, contents string) {
	l.t.Helper()
	l.put(tar.Header{Name: name, Typeflag: reg, Mode: mode}, contents)
}

func (l *layout) link(name, to string) {
	l.t.Helper()
	l.put(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: to}, "")
}

// unpack puts the files of an archive below prefix.
func (l *layout) unpack(archive io.Reader, prefix string) {
	l.t.Helper()
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			l.t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			l.t.Fatal(err)
		}
		h.Name = prefix + strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeLink {
			h.Linkname = prefix + strings.TrimPrefix(h.Linkname, "./")
		}
		if h.Name != prefix {
			l.put(*h, string(text))
		}
	}
}

// image puts a component below prefix, and what every root file system has.
func (l *layout) image(component, prefix string) {
	l.t.Helper()
	f, err := os.Open(export(l.t, l.e, component))
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	l.unpack(f, prefix)
	for _, name := range []string{"dev", "dev/pts", "dev/shm", "etc", "proc", "sys"} {
		l.dirs(prefix + name)
	}
	l.link(prefix+"etc/mtab", "/proc/mounts")
	l.text(prefix+"etc/hosts", 0o644, "127.0.0.1       localhost\n::1     localhost ip6-localhost ip6-loopback\n")
	if prefix == "" {
		l.link("etc/resolv.conf", "/run/resolvconf/resolv.conf")
	} else {
		l.text(prefix+"etc/resolv.conf", 0o644, "# no resolv configured\n")
	}
}

// system puts the kernel's modules and the init images.
func (l *layout) system(inits ...string) {
	l.t.Helper()
	l.unpack(strings.NewReader(program(l.t, l.e, "kernel", "kernel.tar")), "")
	for _, name := range inits {
		l.image(name, "")
	}
}

// volume puts a volume that can be written, or not.
func (l *layout) volume(name string, writable bool) {
	l.t.Helper()
	base := "containers/volumes/" + name
	l.dirs("containers", "containers/volumes", base, base+"/lower")
	if writable {
		l.dirs(base + "/tmp")
	}
	l.dirs(base + "/merged")
}

// container puts a container that runs a shell script in busybox, with a volume
// on /root. lower is where a container before has the image, "" for none.
func (l *layout) container(base, lower string, readonly bool, script, volume string) {
	l.t.Helper()
	at := "/" + base
	l.dirs("containers", filepath.Dir(base), base, base+"/tmp", base+"/rootfs")
	if lower == "" {
		lower = at + "/lower"
		l.dirs(base + "/lower")
		l.image("busybox", base+"/lower/")
	}
	mounts := []any{map[string]any{"destination": at + "/rootfs", "type": "bind", "source": lower, "options": []string{"bind"}}}
	if !readonly {
		mounts = []any{
			map[string]any{"destination": at + "/tmp", "type": "tmpfs", "source": "tmpfs"},
			map[string]any{"destination": at + "/tmp", "options": []string{"remount", "private"}},
			map[string]any{"destination": at + "/rootfs", "type": "overlay", "source": "overlay", "options": []string{
				"lowerdir=" + lower, "upperdir=" + at + "/tmp/upper", "workdir=" + at + "/tmp/work",
			}},
		}
	}
	bind := map[string]string{"cgroup": "", "ipc": "", "mnt": "", "net": "", "pid": "", "user": "", "uts": ""}
	bind["uts"] = "/run/ns/" + filepath.Base(base)
	mkdir := []string{"made"}
	if readonly {
		mkdir = []string{"/run/made"}
	}
	l.json(base+"/config.json", l.spec(script, volume, readonly))
	l.json(base+"/runtime.json", map[string]any{
		"cgroups": []string{"/made/" + filepath.Base(base)}, "mounts": mounts, "mkdir": mkdir,
		"interfaces": []any{}, "bindNS": bind, "namespace": "",
	})
}

// spec is a config.json as LinuxKit's tool writes it for the default settings,
// with a bind of what the scripts look at.
func (l *layout) spec(script, volume string, readonly bool) map[string]any {
	mount := func(to, kind, from string, options ...string) any {
		return map[string]any{"destination": to, "type": kind, "source": from, "options": options}
	}
	caps := []string{"CAP_KILL"}
	options := []string{"rw", "rbind", "rshared"}
	if volume == "fixed" {
		options = []string{"ro", "rbind"}
	}
	mounts := []any{
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
		mount("/proc", "proc", "proc", "nosuid", "nodev", "noexec", "relatime"),
		mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev"),
		mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
		mount("/root", "bind", "/containers/volumes/"+volume+"/merged", options...),
	}
	if !readonly { // for what is read-only, runc cannot make the place
		mounts = append(mounts, mount("/host", "bind", "/run", "rbind", "ro"))
	}
	return map[string]any{
		"ociVersion": "1.2.1", "hostname": "",
		"process": map[string]any{
			"user": map[string]any{"uid": 0, "gid": 0}, "args": []string{"/bin/busybox", "sh", "-c", script},
			"env": []string{"PATH=/bin"}, "cwd": "/",
			"capabilities": map[string]any{"bounding": caps, "effective": caps, "inheritable": caps, "permitted": caps},
		},
		"root":   map[string]any{"path": "rootfs", "readonly": readonly},
		"mounts": mounts,
		"linux":  map[string]any{"namespaces": []any{map[string]string{"type": "mount"}, map[string]string{"type": "uts"}}},
	}
}

func (l *layout) json(name string, v any) {
	l.t.Helper()
	text, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		l.t.Fatal(err)
	}
	l.text(name, 0o644, string(text))
}

// write writes PREFIX-kernel, PREFIX-initrd.img and PREFIX-cmdline. The initrd
// is one gzip archive, as LinuxKit's is.
func (l *layout) write(prefix, cmdline string) {
	l.t.Helper()
	if err := l.tar.Close(); err != nil {
		l.t.Fatal(err)
	}
	if err := l.file.Close(); err != nil {
		l.t.Fatal(err)
	}
	ok(l.t, "sh", "-c", `bsdtar -cf - --format newc "@$0" | gzip -1 >"$1"`, l.file.Name(), prefix+"-initrd.img")
	for name, text := range map[string]string{"-kernel": l.kernel, "-cmdline": cmdline} {
		if err := os.WriteFile(prefix+name, []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
}

// build builds the programs of a module of ours, and returns their directory.
func build(t *testing.T, module string, packages ...string) (bin string) {
	t.Helper()
	bin = t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", bin}, packages...)...)
	cmd.Dir, cmd.Env = module, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", module, err, out)
	}
	return bin
}
