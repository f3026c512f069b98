package bundle

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

// Prepare makes what runtime.json asks for before the container starts: its
// mounts, directories and cgroups. What is mounted already stays, so that it
// can be done again for a container that comes back.
func (b *Bundle) Prepare() error {
	if b.broken != nil {
		return b.broken
	}
	mounted, err := mnt.Points()
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for _, m := range b.Runtime.Mounts {
		m.Destination = b.path(m.Destination)
		if slices.Contains(mounted, m.Destination) && !made[m.Destination] {
			continue
		}
		made[m.Destination] = true
		if err := m.Do(); err != nil {
			return err
		}
	}
	for _, dir := range b.Runtime.Mkdir {
		if err := b.mkdir(b.path(dir)); err != nil {
			return fmt.Errorf("making a directory for the container: %w", err)
		}
	}
	for _, cg := range b.Runtime.Cgroups {
		if err := os.MkdirAll(filepath.Join("/sys/fs/cgroup", cg), 0o755); err != nil {
			return fmt.Errorf("making a cgroup for the container: %w", err)
		}
	}
	return nil
}

// mkdir makes a directory that belongs to the container's user. One that is
// there keeps its owner.
func (b *Bundle) mkdir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return os.MkdirAll(dir, 0o755) // no error if it is there
	}
	s, err := b.Settings()
	if err != nil {
		return err
	}
	return os.Chown(dir, s.UID, s.GID)
}

func (b *Bundle) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(b.Rootfs(), filepath.Join("/", name))
}

// Hook does the work of the hook that [Bundle.Spec] adds: it is called by the
// runtime when the container's namespaces are there and its program has not run
// yet, with the container's state on its input (runtime-spec, runtime.md).
func (b *Bundle) Hook(state io.Reader) error {
	var s struct {
		Pid int `json:"pid"`
	}
	if err := json.NewDecoder(state).Decode(&s); err != nil {
		return fmt.Errorf("reading the container's state: %w", err)
	}
	// This lets go of the namespaces of a run before, and so of its interfaces.
	if err := b.bindNamespaces(s.Pid); err != nil {
		return err
	}
	for _, i := range b.Runtime.Interfaces {
		if err := i.give(s.Pid); err != nil {
			return fmt.Errorf("interface %s: %w", i.Name, err)
		}
	}
	return nil
}

func (b *Bundle) bindNamespaces(pid int) error {
	ns := b.Runtime.BindNS
	for _, n := range []struct{ name, file string }{
		{"cgroup", ns.Cgroup},
		{"ipc", ns.Ipc},
		{"mnt", ns.Mnt},
		{"net", ns.Net},
		{"pid", ns.Pid},
		{"user", ns.User},
		{"uts", ns.Uts},
	} {
		if n.file == "" {
			continue
		}
		if err := mnt.BindFile(fmt.Sprintf("/proc/%d/ns/%s", pid, n.name), b.path(n.file)); err != nil {
			return err
		}
	}
	return nil
}

// Release lets go of the container's root file system and of the memory that
// what it wrote there takes. Its other mounts may be for others, and stay.
func (b *Bundle) Release() error {
	for _, dir := range []string{b.Rootfs(), filepath.Join(b.Dir, "tmp")} {
		if err := mnt.Detach(dir); err != nil {
			return err
		}
	}
	return nil
}
