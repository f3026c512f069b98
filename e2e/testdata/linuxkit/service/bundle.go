package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// runtime is runtime.json as LinuxKit's init knows it, and nothing else.
type runtime struct {
	Cgroups    []string      `json:"cgroups"`
	Mounts     []specs.Mount `json:"mounts"`
	Mkdir      []string      `json:"mkdir"`
	Interfaces []struct {
		Name         string `json:"name"`
		Add          string `json:"add"`
		Peer         string `json:"peer"`
		CreateInRoot bool   `json:"createInRoot"`
	} `json:"interfaces"`
	BindNS struct {
		Cgroup string `json:"cgroup"`
		Ipc    string `json:"ipc"`
		Mnt    string `json:"mnt"`
		Net    string `json:"net"`
		Pid    string `json:"pid"`
		User   string `json:"user"`
		Uts    string `json:"uts"`
	} `json:"bindNS"`
	Namespace string `json:"namespace"`
}

// strictly reads a JSON file, and refuses what into has no place for.
func strictly(name string, into any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// open reads a bundle and prepares it: mounts, directories, cgroups.
func open(dir string) (runtime, *specs.Spec, error) {
	var r runtime
	var s specs.Spec
	if err := strictly(filepath.Join(dir, "runtime.json"), &r); err != nil {
		return r, nil, err
	}
	if err := strictly(filepath.Join(dir, "config.json"), &s); err != nil {
		return r, nil, err
	}
	if s.Root == nil || s.Root.Path != "rootfs" || s.Process == nil || s.Process.Terminal || len(r.Interfaces) > 0 {
		return r, nil, fmt.Errorf("%s: not as this stand-in can run it", dir)
	}
	absolute := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, "rootfs", name)
	}
	for _, m := range r.Mounts {
		if err := mount(m, absolute(m.Destination)); err != nil {
			return r, nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	for _, name := range r.Mkdir {
		if err := os.MkdirAll(absolute(name), 0o755); err != nil {
			return r, nil, err
		}
	}
	for _, name := range r.Cgroups {
		if err := os.MkdirAll(filepath.Join("/sys/fs/cgroup", name), 0o755); err != nil {
			return r, nil, err
		}
	}
	return r, &s, nil
}

// mount makes a mount in one call, with the options that runtime.json has
// without a user's doing. All others are data.
func mount(m specs.Mount, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	known := map[string]uintptr{
		"bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "ro": unix.MS_RDONLY, "remount": unix.MS_REMOUNT,
		"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	}
	var flags uintptr
	var data []string
	for _, o := range m.Options {
		if f, ok := known[o]; ok {
			flags |= f
			continue
		}
		data = append(data, o)
		if key, value, _ := strings.Cut(o, "="); key == "upperdir" || key == "workdir" {
			if err := os.MkdirAll(value, 0o755); err != nil {
				return err
			}
		}
	}
	if err := unix.Mount(m.Source, dir, m.Type, flags, strings.Join(data, ",")); err != nil {
		return fmt.Errorf("mounting %s: %w", dir, err)
	}
	return nil
}

// bind binds the namespaces of a process that waits to run.
func (r runtime) bind(pid int) error {
	for name, path := range map[string]string{
		"cgroup": r.BindNS.Cgroup, "ipc": r.BindNS.Ipc, "mnt": r.BindNS.Mnt, "net": r.BindNS.Net,
		"pid": r.BindNS.Pid, "user": r.BindNS.User, "uts": r.BindNS.Uts,
	} {
		if path == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/%d/ns/%s", pid, name), path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", path, err)
		}
	}
	return nil
}

// volumes mounts what is below dir: merged is lower, and what is written is in
// tmp, if that is there.
func volumes(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		lower, merged, tmp := filepath.Join(at, "lower"), filepath.Join(at, "merged"), filepath.Join(at, "tmp")
		for _, must := range []string{lower, merged} {
			if _, err := os.Stat(must); err != nil {
				return err
			}
		}
		if _, err := os.Stat(tmp); err != nil {
			if err := unix.Mount(lower, merged, "bind", unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				return err
			}
			continue
		}
		if err := unix.Mount("tmpfs", tmp, "tmpfs", unix.MS_RELATIME, ""); err != nil {
			return err
		}
		overlay := specs.Mount{Source: "overlay", Type: "overlay", Options: []string{"lowerdir=" + lower, "upperdir=" + tmp + "/upper", "workdir=" + tmp + "/work"}}
		if err := mount(overlay, merged); err != nil {
			return err
		}
	}
	return nil
}
