package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bundle is one container: its config.json, runtime.json and root file system.
type bundle struct{ name, dir string }

// runtimeMount is a mount of runtime.json.
type runtimeMount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// runtimeConfig is runtime.json: what is done around a container.
type runtimeConfig struct {
	Cgroups    []string       `json:"cgroups"`
	Mounts     []runtimeMount `json:"mounts"`
	Mkdir      []string       `json:"mkdir"`
	Interfaces []struct {
		Name         string `json:"name"`
		Add          string `json:"add"`
		Peer         string `json:"peer"`
		CreateInRoot bool   `json:"createInRoot"`
	} `json:"interfaces"`
	BindNS    map[string]string `json:"bindNS"`
	Namespace string            `json:"namespace"`
}

// runtime reads the bundle's runtime.json; there may be none.
func (b bundle) runtime() (runtimeConfig, error) {
	var r runtimeConfig
	text, err := os.ReadFile(filepath.Join(b.dir, "runtime.json"))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("reading runtime.json: %w", err)
	}
	return r, nil
}

// prepare makes the container's mounts, directories and cgroups, and returns
// the specification to start it with: of an absolute root, and with a hook where
// namespaces have to be furnished. cgroup is where it is put if it does not say.
func (b bundle) prepare(r runtimeConfig, cgroup string) (*specs.Spec, error) {
	text, err := os.ReadFile(filepath.Join(b.dir, "config.json"))
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return nil, fmt.Errorf("reading config.json: %w", err)
	}
	if spec.Root == nil || spec.Linux == nil || spec.Process == nil {
		return nil, errors.New("config.json lacks root, linux or process")
	}
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(b.dir, spec.Root.Path)
	}
	if spec.Linux.CgroupsPath == "" {
		spec.Linux.CgroupsPath = cgroup
	}
	for _, c := range r.Cgroups {
		if err := os.MkdirAll(filepath.Join("/sys/fs/cgroup", c), 0o755); err != nil {
			return nil, fmt.Errorf("making cgroup %s: %w", c, err)
		}
	}
	if err := mountAll(r.Mounts, spec.Root.Path); err != nil {
		return nil, err
	}
	for _, d := range r.Mkdir {
		if err := os.MkdirAll(inside(d, spec.Root.Path), 0o755); err != nil {
			return nil, fmt.Errorf("making %s: %w", d, err)
		}
	}
	if len(r.Interfaces) > 0 || bound(r.BindNS) {
		if spec.Hooks == nil {
			spec.Hooks = &specs.Hooks{}
		}
		spec.Hooks.CreateRuntime = append(spec.Hooks.CreateRuntime, specs.Hook{
			Path: "/usr/bin/lkx-services", Args: []string{"lkx-services", "hook", filepath.Join(b.dir, "runtime.json")},
		})
	}
	return &spec, nil
}

func bound(ns map[string]string) bool {
	for _, p := range ns {
		if p != "" {
			return true
		}
	}
	return false
}

// inside is a path of runtime.json: a relative one is in the container's root.
func inside(name, root string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(root, name)
}

// mountAll makes mounts, unless they are there.
func mountAll(list []runtimeMount, root string) error {
	for _, m := range list {
		at := inside(m.Destination, root)
		flags, propagation, data := mountOptions(m.Options)
		if flags&unix.MS_REMOUNT != 0 {
			flags &^= unix.MS_REMOUNT
			if err := remount(at, flags, propagation, data); err != nil {
				return err
			}
			continue
		}
		if mounted(at) {
			continue
		}
		for _, o := range m.Options {
			if dir, ok := cutAny(o, "upperdir=", "workdir="); ok && m.Type == "overlay" {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return fmt.Errorf("making %s: %w", dir, err)
				}
			}
		}
		if err := os.MkdirAll(at, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", at, err)
		}
		if err := unix.Mount(m.Source, at, m.Type, flags, data); err != nil {
			return fmt.Errorf("mounting %s at %s: %w", m.Source, at, err)
		}
		if propagation != 0 {
			if err := unix.Mount("", at, "", propagation, ""); err != nil {
				return fmt.Errorf("propagation of %s: %w", at, err)
			}
		}
	}
	return nil
}

// remount changes a mount: its propagation alone, or its flags too.
func remount(at string, flags, propagation uintptr, data string) error {
	if flags != 0 || data != "" {
		if err := unix.Mount("", at, "", flags|unix.MS_REMOUNT, data); err != nil {
			return fmt.Errorf("remounting %s: %w", at, err)
		}
	}
	if propagation == 0 {
		return nil
	}
	if err := unix.Mount("", at, "", propagation, ""); err != nil {
		return fmt.Errorf("propagation of %s: %w", at, err)
	}
	return nil
}

func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return "", false
}

// mounted tells whether at is a mount point.
func mounted(at string) bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 4 && f[4] == at {
			return true
		}
	}
	return false
}

// mountFlags are the options of mount(8) that are flags of mount(2).
var mountFlags = map[string]uintptr{
	"bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID,
	"nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME,
	"relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME, "sync": unix.MS_SYNCHRONOUS,
	"dirsync": unix.MS_DIRSYNC, "remount": unix.MS_REMOUNT, "rw": 0, "defaults": 0,
}

var propagations = map[string]uintptr{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC, "shared": unix.MS_SHARED,
	"rshared": unix.MS_SHARED | unix.MS_REC, "slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// mountOptions sorts options into flags, propagation and what the file system reads.
func mountOptions(list []string) (flags, propagation uintptr, data string) {
	var rest []string
	for _, o := range list {
		if f, ok := mountFlags[o]; ok {
			flags |= f
		} else if p, ok := propagations[o]; ok {
			propagation |= p
		} else {
			rest = append(rest, o)
		}
	}
	return flags, propagation, strings.Join(rest, ",")
}

// runOnce runs a container with runc until it ends, and returns its status.
// What it says goes to the console and to /run/log/onboot.
func runOnce(ctx context.Context, b bundle, o options) (int, error) {
	r, err := b.runtime()
	if err != nil {
		return 0, err
	}
	spec, err := b.prepare(r, "/"+filepath.Base(filepath.Dir(b.dir))+"/"+b.name)
	if err != nil {
		return 0, err
	}
	dir := filepath.Join("/run/lkx/bundles", b.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		return 0, err
	}
	log := newLog(b.name, filepath.Join("/run/log/onboot", b.name+".log"), true)
	defer log.Close()
	cmd := exec.CommandContext(ctx, "/usr/bin/runc", "--root", "/run/runc", "run", "--bundle", dir, b.name)
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	release(r.Mounts, spec.Root.Path)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("starting it: %w", err)
	}
	return 0, nil
}

// release undoes the mounts of a container that has ended.
func release(list []runtimeMount, root string) {
	for i := len(list) - 1; i >= 0; i-- {
		at := inside(list[i].Destination, root)
		if mounted(at) {
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	}
}

// hook is what the runtime calls between making a container's namespaces and
// starting its program; state is what it sends (runtime-spec, runtime.md).
func hook(file string, state io.Reader) error {
	var s specs.State
	if err := json.NewDecoder(state).Decode(&s); err != nil {
		return fmt.Errorf("reading the container's state: %w", err)
	}
	r, err := bundle{dir: filepath.Dir(file)}.runtime()
	if err != nil {
		return err
	}
	for _, i := range r.Interfaces {
		if err := addInterface(s.Pid, i.Name, i.Add, i.Peer, i.CreateInRoot); err != nil {
			return fmt.Errorf("interface %s: %w", i.Name, err)
		}
	}
	for ns, at := range r.BindNS {
		if at == "" {
			continue
		}
		if err := bindNamespace(s.Pid, ns, at); err != nil {
			return fmt.Errorf("binding its %s namespace to %s: %w", ns, at, err)
		}
	}
	return nil
}

func bindNamespace(pid int, ns, at string) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	f.Close()
	return unix.Mount(fmt.Sprintf("/proc/%d/ns/%s", pid, ns), at, "", unix.MS_BIND, "")
}
