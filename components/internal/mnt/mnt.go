package mnt

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one mount as runtime-spec's config.md has it (mounts).
type Mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// Do makes m. Its destination must exist, or be on a file system that can be
// written; the upper and work directories of an overlay are made.
func (m Mount) Do() error {
	if err := m.do(); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", m.name(), m.Destination, err)
	}
	return nil
}

func (m Mount) name() string {
	if m.Source != "" {
		return m.Source
	}
	return strings.Join(m.Options, ",")
}

func (m Mount) do() error {
	o := Parse(m.Options)
	if err := m.target(o); err != nil {
		return err
	}
	if m.Type == "overlay" {
		if err := m.layers(); err != nil {
			return err
		}
	}
	// "remount,private" means the propagation alone: a bare remount would take
	// away nosuid and the like.
	only := o.Flags == unix.MS_REMOUNT && o.Data == "" && o.Clear == 0 && o.Propagation != 0
	none := o.Flags == 0 && m.Type == "" && o.Propagation != 0
	if !only && !none {
		if err := unix.Mount(m.Source, m.Destination, m.Type, o.Flags, o.Data); err != nil {
			return err
		}
	}
	// A bind takes its flags only when it is mounted once more.
	const binding = unix.MS_BIND | unix.MS_REC
	if o.Flags&unix.MS_REMOUNT == 0 && o.Flags&unix.MS_BIND != 0 && o.Flags&^binding != 0 {
		if err := unix.Mount("", m.Destination, "", o.Flags&^unix.MS_REC|unix.MS_REMOUNT, ""); err != nil {
			return err
		}
	}
	if o.Propagation != 0 {
		return unix.Mount("", m.Destination, "", o.Propagation, "")
	}
	return nil
}

// layers makes the upper and work directories of an overlay. Its root has the
// owner and the permissions of the upper one, which takes them from the lower
// one that lies on top.
func (m Mount) layers() error {
	upper, work := Value(m.Options, "upperdir"), Value(m.Options, "workdir")
	if work != "" {
		if err := os.MkdirAll(work, 0o755); err != nil {
			return err
		}
	}
	if upper == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(upper), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(upper, 0o755); err != nil {
		if os.IsExist(err) {
			return nil
		}
		return err
	}
	lower, _, _ := strings.Cut(Value(m.Options, "lowerdir"), ":")
	var st unix.Stat_t
	if err := unix.Stat(lower, &st); err != nil {
		return &fs.PathError{Op: "looking at", Path: lower, Err: err}
	}
	if err := os.Chown(upper, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(upper, st.Mode&0o7777)
}

// target makes what m is mounted on: a file for a bind of a file, else a directory.
func (m Mount) target(o Options) error {
	if _, err := os.Stat(m.Destination); err == nil || o.Flags&unix.MS_REMOUNT != 0 {
		return nil
	}
	if o.Flags&unix.MS_BIND != 0 {
		if info, err := os.Stat(m.Source); err == nil && !info.IsDir() {
			return touch(m.Destination)
		}
	}
	return os.MkdirAll(m.Destination, 0o755)
}

func touch(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// BindFile binds the file source onto name, which is made if it is missing.
// What was bound there before is let go.
func BindFile(source, name string) error {
	if err := touch(name); err != nil {
		return fmt.Errorf("binding %s: %w", name, err)
	}
	if err := unix.Unmount(name, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
		return fmt.Errorf("letting go of %s: %w", name, err)
	}
	if err := unix.Mount(source, name, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s to %s: %w", source, name, err)
	}
	return nil
}

// Points are the mount points of this process's namespace in the order they
// were mounted, read from /proc/self/mountinfo (proc(5)).
func Points() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	return parsePoints(string(text)), nil
}

func parsePoints(text string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var out []string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 4 {
			out = append(out, unescape.Replace(f[4]))
		}
	}
	return out
}

// Detach lazily unmounts everything mounted at name; nothing there is no error.
func Detach(name string) error {
	for {
		switch err := unix.Unmount(name, unix.MNT_DETACH); err {
		case nil:
		case unix.EINVAL, unix.ENOENT:
			return nil
		default:
			return &fs.PathError{Op: "unmounting", Path: name, Err: err}
		}
	}
}
