// Package oci turns an image's config and a container's settings into what the
// container runs by: an OCI runtime specification (config.json, runtime-spec
// 1.2) and the work around it (runtime.json, LinuxKit's). It is pure.
package oci

import (
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// Version is the runtime-spec version of every config.json: what LinuxKit
// writes, so that older runtimes accept it.
const Version = "1.2.1"

// Label is the image label with a container's settings, JSON or YAML.
const Label = "org.mobyproject.config"

// Bundle is what stands beside a container's root file system.
type Bundle struct {
	Spec    specs.Spec // config.json
	Runtime Runtime    // runtime.json, without the mounts of the root file system
}

// FieldError is a fault of one field of a container.
type FieldError struct {
	Field string // as in the manifest: "uid", "mounts[2]"
	Msg   string
	Hint  string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Msg }

// IDs are the user ids allocated to containers, by name.
type IDs map[string]uint32

// Resolve is the number of id, nil being root; field names it in errors.
func (ids IDs) Resolve(id *manifest.ID, field string) (uint32, error) {
	if id == nil {
		return 0, nil
	}
	if id.Name == "" {
		return id.Num, nil
	}
	if n, ok := ids[id.Name]; ok {
		return n, nil
	}
	return 0, &FieldError{Field: field, Msg: fmt.Sprintf("no container is named %q", id.Name), Hint: "write a number, or the name of a container, whose own id is meant"}
}

// ParseImage reads an image's config.
func ParseImage(config []byte) (ocispec.ImageConfig, error) {
	var img ocispec.Image
	if err := json.Unmarshal(config, &img); err != nil {
		return ocispec.ImageConfig{}, fmt.Errorf("reading the image's config: %w", err)
	}
	return img.Config, nil
}

// System is what a container finds around it.
type System struct {
	Arch    string // GOARCH
	IDs     IDs
	Volumes map[string]Volume // by name
}

// Volume is where the containers of a system share files.
type Volume struct {
	Path     string // on the system, absolute
	Readonly bool
}

// New makes the bundle of the container name of sys from its settings and its
// image's config. Errors are [*FieldError].
func New(name string, c manifest.Config, img ocispec.ImageConfig, sys System) (Bundle, error) {
	c, err := userNamespace(c, sys.IDs[name])
	if err != nil {
		return Bundle{}, err
	}
	process, err := process(c, img, sys.IDs)
	if err != nil {
		return Bundle{}, err
	}
	mounts, err := mounts(c, sys.Volumes)
	if err != nil {
		return Bundle{}, err
	}
	spec := specs.Spec{
		Version:     Version,
		Process:     process,
		Root:        &specs.Root{Path: "rootfs", Readonly: isTrue(c.Readonly)},
		Hostname:    c.Hostname,
		Mounts:      mounts,
		Annotations: c.Annotations,
		Linux:       linux(c),
	}
	if err := checkMapped(process.User, spec.Linux); err != nil {
		return Bundle{}, err
	}
	secure(&spec, c)
	if c.Seccomp == "default" {
		if spec.Linux.Seccomp, err = seccompProfile(sys.Arch, process.Capabilities.Bounding); err != nil {
			return Bundle{}, &FieldError{Field: "seccomp", Msg: err.Error()}
		}
	}
	runtime, err := newRuntime(c, sys.Volumes)
	return Bundle{Spec: spec, Runtime: runtime}, err
}

func process(c manifest.Config, img ocispec.ImageConfig, ids IDs) (*specs.Process, error) {
	p := &specs.Process{
		Args:            append(append([]string{}, img.Entrypoint...), img.Cmd...),
		Env:             img.Env,
		Cwd:             "/",
		NoNewPrivileges: isTrue(c.NoNewPrivileges),
		OOMScoreAdj:     c.OOMScoreAdj,
		Capabilities:    capabilities(c),
	}
	if c.Command != nil {
		p.Args = c.Command
	}
	if len(p.Args) == 0 {
		return nil, &FieldError{Field: "command", Msg: "the image names no command, and the manifest gives none", Hint: `add "command: [/path/to/program]"`}
	}
	if c.Env != nil {
		p.Env = c.Env
	}
	for _, dir := range []string{img.WorkingDir, c.Cwd} {
		if dir != "" {
			p.Cwd = dir
		}
	}
	var err error
	if p.User.UID, err = ids.Resolve(c.UID, "uid"); err != nil {
		return nil, err
	}
	if p.User.GID, err = ids.Resolve(c.GID, "gid"); err != nil {
		return nil, err
	}
	for i := range c.AdditionalGids {
		gid, err := ids.Resolve(&c.AdditionalGids[i], fmt.Sprintf("additionalGids[%d]", i))
		if err != nil {
			return nil, err
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, gid)
	}
	for i, s := range c.Rlimits {
		r, err := manifest.ParseRlimit(s)
		if err != nil {
			return nil, &FieldError{Field: fmt.Sprintf("rlimits[%d]", i), Msg: err.Error()}
		}
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: r.Type, Soft: r.Soft, Hard: r.Hard})
	}
	return p, nil
}

func isTrue(b *bool) bool { return b != nil && *b }
