// Package manifest parses and checks the YAML a user writes: LinuxKit's format.
// It does no I/O.
package manifest

import (
	"encoding/json"
	"fmt"
	"iter"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// Manifest is a checked manifest: names are well formed and unique, references
// parse, and nothing in it was unknown.
type Manifest struct {
	Kernel     *Kernel     `yaml:"kernel"`     // none: only a root file system can be built
	Init       []Ref       `yaml:"init"`       // images unpacked into /, in order
	Onboot     []Container `yaml:"onboot"`     // run one after the other before the services
	Onshutdown []Container `yaml:"onshutdown"` // run one after the other at shutdown
	Services   []Container `yaml:"services"`   // run by containerd
	Files      []File      `yaml:"files"`      // placed after all images
	Trust      *Trust      `yaml:"trust"`      // accepted for old manifests, without effect

	Source   *source.File  // the text it came from
	Warnings source.Errors // what is legal but suspicious

	places map[string]place // where each value stands, by path
}

// Ref is an image reference.
type Ref struct {
	Name string // in full: registry/path:tag, registry/path@digest or both
	Text string // as written
}

// Kernel says where the kernel comes from.
type Kernel struct {
	Image   Ref     `yaml:"image"`
	Cmdline string  `yaml:"cmdline"`
	Binary  string  `yaml:"binary"` // path of the kernel in the image; default "kernel"
	Tar     *string `yaml:"tar"`    // path of the tar archive with its modules; default "kernel.tar", "" or "none" for none
	Ucode   string  `yaml:"ucode"`  // path of a cpio archive with microcode
}

// Container is one entry of onboot, onshutdown or services.
type Container struct {
	Name   string `yaml:"name"`
	Image  Ref    `yaml:"image"`
	Config `yaml:",inline"`
}

// File is one entry of files.
type File struct {
	Path      string  `yaml:"path"`
	Directory bool    `yaml:"directory"`
	Symlink   string  `yaml:"symlink"`
	Contents  *string `yaml:"contents"`
	Source    string  `yaml:"source"`   // path on the building machine, relative to the manifest
	Metadata  string  `yaml:"metadata"` // "json" or "yaml": this manifest
	Optional  bool    `yaml:"optional"` // a missing Source is no error
	Mode      *Mode   `yaml:"mode"`
	UID       *ID     `yaml:"uid"`
	GID       *ID     `yaml:"gid"`
}

// Mode is permission bits with set-id and sticky bits, written as an octal string.
type Mode uint32

// ID is a user or group id: a number, or the name of a container whose id was
// allocated at build time.
type ID struct {
	Name string // "" when Num holds
	Num  uint32
}

// Trust was LinuxKit's content trust.
type Trust struct {
	Image []string `yaml:"image"`
	Org   []string `yaml:"org"`
}

// ErrorAt is a complaint about the value at path, such as "services[2].image";
// about the nearest value around it if there is none.
func (m *Manifest) ErrorAt(path, msg string) *source.Error {
	return errorAt(m.places, path, msg)
}

// PosOf is the place of the value at path, or of the nearest value around it.
func (m *Manifest) PosOf(path string) source.Pos { return errorAt(m.places, path, "").Pos }

// Images lists the image references of m with their paths, in the order of the
// keys in the documentation: kernel, init, onboot, onshutdown, services.
func (m *Manifest) Images() iter.Seq2[string, Ref] {
	return func(yield func(string, Ref) bool) {
		if m.Kernel != nil && !yield("kernel.image", m.Kernel.Image) {
			return
		}
		for i, r := range m.Init {
			if !yield(fmt.Sprintf("init[%d]", i), r) {
				return
			}
		}
		for _, list := range m.Containers() {
			for i, c := range list.Items {
				if !yield(fmt.Sprintf("%s[%d].image", list.Key, i), c.Image) {
					return
				}
			}
		}
	}
}

// Metadata is the manifest itself, as "json" or "yaml", keys in byte order.
func (m *Manifest) Metadata(format string) (string, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(m.Source.Data, &doc); err != nil {
		return "", fmt.Errorf("reading the manifest again: %w", err)
	}
	var out []byte
	var err error
	if format == "json" {
		out, err = json.Marshal(doc)
	} else {
		out, err = yaml.Marshal(doc)
	}
	if err != nil {
		return "", fmt.Errorf("writing the manifest as %s: %w", format, err)
	}
	return string(out), nil
}
