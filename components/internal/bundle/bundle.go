// Package bundle reads and prepares a container as the image builder lays it
// out: a directory with config.json (the OCI runtime specification), rootfs,
// and runtime.json, which says what is to be done around the container.
package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

// Bundle is one container on the root file system.
type Bundle struct {
	Dir     string // absolute
	Name    string // last element of Dir: "hello", "000-sysctl"
	Runtime Runtime

	broken error // runtime.json cannot be read
}

// Runtime is runtime.json. Relative paths are below the container's rootfs.
type Runtime struct {
	Cgroups    []string    `json:"cgroups"`    // made before the container
	Mounts     []mnt.Mount `json:"mounts"`     // made in the init's namespace, in order
	Mkdir      []string    `json:"mkdir"`      // made after the mounts, 0755
	Interfaces []Interface `json:"interfaces"` // moved to or made for the container
	BindNS     BindNS      `json:"bindNS"`
	Namespace  string      `json:"namespace"` // containerd's, "" for the default

	// Of services alone:

	Restart     string       `json:"restart"`     // "on-failure", "always", "no"; "" is "on-failure"
	After       []string     `json:"after"`       // services that must be ready before it starts
	Healthcheck *Healthcheck `json:"healthcheck"` // nil for none
}

// Healthcheck says how it is found out whether a service works: by one of Exec,
// TCP and HTTP. Times are as in "1m30s"; what is "" or 0 is left to the reader.
type Healthcheck struct {
	Exec        []string `json:"exec"` // command in the container
	TCP         string   `json:"tcp"`  // "PORT" or "HOST:PORT"
	HTTP        string   `json:"http"` // "http://HOST:PORT/PATH"
	Interval    string   `json:"interval"`
	Timeout     string   `json:"timeout"`     // of one check
	Retries     int      `json:"retries"`     // failures one after the other that count as one of the service
	StartPeriod string   `json:"startPeriod"` // after the start, in which failures do not count
}

// Interface is a network interface for a container.
type Interface struct {
	Name         string `json:"name"`
	Add          string `json:"add"`          // type of the link to make; "" moves one that exists
	Peer         string `json:"peer"`         // for veth: the other end, left in the init's namespace
	CreateInRoot bool   `json:"createInRoot"` // made in the init's namespace, then moved
}

// BindNS are the files that the container's namespaces are bound to, "" for none.
type BindNS struct {
	Cgroup string `json:"cgroup"`
	Ipc    string `json:"ipc"`
	Mnt    string `json:"mnt"`
	Net    string `json:"net"`
	Pid    string `json:"pid"`
	User   string `json:"user"`
	Uts    string `json:"uts"`
}

// List reads the bundles below dir in name order; none where dir is missing.
// One that is broken does not keep the others back: it cannot be prepared.
func List(dir string) ([]*Bundle, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	var out []*Bundle
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		b, err := Load(filepath.Join(dir, e.Name()))
		b.broken = err
		out = append(out, b)
	}
	return out, nil
}

// Load reads the bundle in dir. A missing runtime.json asks for nothing.
func Load(dir string) (*Bundle, error) {
	b := &Bundle{Dir: dir, Name: filepath.Base(dir)}
	text, err := os.ReadFile(filepath.Join(dir, "runtime.json"))
	if os.IsNotExist(err) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b.Runtime)
	}
	if err != nil {
		return b, fmt.Errorf("reading %s/runtime.json: %w", dir, err)
	}
	return b, nil
}

// Rootfs is the container's root file system, absolute.
func (b *Bundle) Rootfs() string { return filepath.Join(b.Dir, "rootfs") }

// Spec is config.json for a runtime that is given it from another place: with
// the root's path absolute, in the given cgroup unless it names its own, and
// where there is something for [Bundle.Hook] to do, with a hook that calls
// "HELPER hook DIR" for it.
func (b *Bundle) Spec(cgroup, helper string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(b.Dir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the container's config: %w", err)
	}
	out, err := b.patch(text, cgroup, helper)
	if err != nil {
		return nil, fmt.Errorf("reading %s/config.json: %w", b.Dir, err)
	}
	return out, nil
}

// patch leaves alone all of the spec that it does not know.
func (b *Bundle) patch(text []byte, cgroup, helper string) ([]byte, error) {
	spec, err := decode(text)
	if err != nil {
		return nil, err
	}
	root, linux := object(spec, "root"), object(spec, "linux")
	path, _ := root["path"].(string)
	if path == "" {
		path = "rootfs"
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.Dir, path)
	}
	root["path"] = path
	if own, _ := linux["cgroupsPath"].(string); own == "" {
		linux["cgroupsPath"] = cgroup
	}
	if len(b.Runtime.Interfaces) > 0 || b.Runtime.BindNS != (BindNS{}) {
		hooks := object(spec, "hooks")
		list, _ := hooks["createRuntime"].([]any)
		hooks["createRuntime"] = append(list, map[string]any{"path": helper, "args": []string{helper, "hook", b.Dir}})
	}
	return json.Marshal(spec)
}

// Settings are what config.json says that matters outside of the container.
type Settings struct {
	Memory   int64 // limit of memory in bytes, 0 for none
	UID, GID int   // that its user has outside
}

// Settings reads config.json.
func (b *Bundle) Settings() (Settings, error) {
	type mapping struct{ ContainerID, HostID, Size uint32 }
	var spec struct {
		Process struct{ User struct{ UID, GID uint32 } }
		Linux   struct {
			UIDMappings, GIDMappings []mapping
			Resources                struct{ Memory struct{ Limit int64 } }
		}
	}
	text, err := os.ReadFile(filepath.Join(b.Dir, "config.json"))
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("reading %s/config.json: %w", b.Dir, err)
	}
	outside := func(maps []mapping, id uint32) int {
		for _, m := range maps {
			if id >= m.ContainerID && id-m.ContainerID < m.Size {
				return int(m.HostID + (id - m.ContainerID))
			}
		}
		return int(id)
	}
	l, user := spec.Linux, spec.Process.User
	return Settings{l.Resources.Memory.Limit, outside(l.UIDMappings, user.UID), outside(l.GIDMappings, user.GID)}, nil
}

// CgroupOf is the cgroup that a spec names, "" for none.
func CgroupOf(spec []byte) string {
	var s struct {
		Linux struct{ CgroupsPath string }
	}
	_ = json.Unmarshal(spec, &s) // what the runtime will refuse has none
	return s.Linux.CgroupsPath
}

// Process is how the container's process is described, for another one that is
// to run args in the container: without a terminal, otherwise the same.
func (b *Bundle) Process(args []string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(b.Dir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the container's config: %w", err)
	}
	spec, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s/config.json: %w", b.Dir, err)
	}
	p := object(spec, "process")
	p["args"], p["terminal"] = args, false
	delete(p, "consoleSize")
	out, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("describing a process: %w", err)
	}
	return out, nil
}

func decode(text []byte) (map[string]any, error) {
	var spec map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err := d.Decode(&spec)
	return spec, err
}

// object is the object of that name in parent, made if it is missing.
func object(parent map[string]any, name string) map[string]any {
	o, ok := parent[name].(map[string]any)
	if !ok {
		o = map[string]any{}
		parent[name] = o
	}
	return o
}
