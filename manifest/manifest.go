// Package manifest parses, merges and checks the YAML a user writes: LinuxKit's
// format, and what its users asked for. It does no I/O of its own.
//
// The comments of the types here are the manifest's documentation: its JSON
// Schema and the reference page are made from them. In their struct tags, yaml
// names the key (alias= another spelling that is accepted), enum lists all
// values a string can have, and required marks keys without which there is no
// meaning.
package manifest

import (
	"encoding/json"
	"fmt"
	"iter"

	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/internal/source"
)

// Document is one manifest file.
type Document struct {
	// Other manifests, whose parts come before those of this one, in order.
	// Paths are relative to this file. A file that several include counts once.
	Include []string `yaml:"include"`
	// Arguments with their defaults: `${NAME}` in any value is replaced by the
	// value of argument NAME, `${NAME:-default}` by the default if it has none;
	// `$${` is a plain `${`. Without a default here, a build must give a value
	// (`lkx build --arg NAME=…`, `docker buildx build --build-arg NAME=…`). A
	// comment beside an argument is its help.
	Args map[string]*string `yaml:"args"`
	// Parts for one architecture alone, merged over the rest of this file: 386,
	// amd64, arm, arm64, loong64, mips64le, ppc64le, riscv64 or s390x.
	Arch map[string]Manifest `yaml:"arch"`

	Manifest `yaml:",inline"`
}

// Manifest is the sections of a manifest. Those of several files are merged.
type Manifest struct {
	// The kernel. Without one, only a root file system can be built.
	Kernel *Kernel `yaml:"kernel"`
	// Images that are unpacked into /, in order: an init, runc, containerd.
	Init []Ref `yaml:"init"`
	// Directories that containers share, mounted before any of them starts.
	Volumes []Volume `yaml:"volumes"`
	// Containers that run one after the other before the services.
	Onboot []Container `yaml:"onboot"`
	// Containers that run one after the other at shutdown.
	Onshutdown []Container `yaml:"onshutdown"`
	// Containers that run side by side for as long as the system does.
	Services []Container `yaml:"services"`
	// Files that are placed over all images.
	Files []File `yaml:"files"`
	// Where disks and CDs have their root file system: in the initrd, from which
	// it is unpacked into memory, which is the default, or on the disk, as a
	// compressed `squashfs` or an `erofs`. Formats with `squashfs` or `erofs` in
	// their names have it so in any case, kernel+initrd and uki never.
	Root string `yaml:"root" enum:"initramfs,squashfs,erofs"`
	// LinuxKit's content trust: accepted, without effect.
	Trust *Trust `yaml:"trust"`

	Sources  []*source.File // the texts it came from, in the order of their parts
	Args     []Arg          // the arguments it can be given, by name
	Warnings source.Errors  // what is legal but suspicious

	doc    *yaml.Node       // all of it, merged
	places map[string]place // where each value stands, by path
}

// Ref is an image reference: `registry/path:tag`, or pinned, `path@sha256:…`.
// docker.io, library/ and :latest can be left out.
type Ref struct {
	Name string // in full: registry/path:tag, registry/path@digest or both
	Text string // as written
}

// Kernel says where the kernel comes from.
type Kernel struct {
	// The image that holds the kernel and its modules.
	Image Ref `yaml:"image" required:"true"`
	// The kernel's command line, such as `console=ttyS0`.
	Cmdline string `yaml:"cmdline"`
	// Path of the kernel in the image; default `kernel`.
	Binary string `yaml:"binary"`
	// Path of a tar archive in the image that is unpacked into /, with the
	// modules; default `kernel.tar`. An empty string, or `none`, is for none.
	Tar *string `yaml:"tar"`
	// Path of a cpio archive in the image with microcode for the processor.
	Ucode string `yaml:"ucode"`
	// The image with the code that boots disks, CDs and UEFI: systemd's stub,
	// and GRUB for BIOS; default `ghcr.io/lkx-os/bootblobs:0.1`. Formats that do
	// not need it do not ask for it.
	Bootcode Ref `yaml:"bootcode"`
}

// Volume is a directory that containers bind by its name: `binds: [NAME:/data]`.
// It is empty, or holds what an image holds; what is written to it stays in
// memory and ends with the system.
type Volume struct {
	// What binds and mounts call it: lower-case letters, digits, `-` and `_`.
	Name string `yaml:"name" required:"true"`
	// The image whose files are in it; without one it is empty.
	Image Ref `yaml:"image"`
	// Nothing can be written to it; containers must bind it with option `ro`.
	Readonly bool `yaml:"readonly"`
	// Permission bits of the directory, octal, in quotes; default `"0755"`.
	Mode *Mode `yaml:"mode"`
	// Owner of the directory: a number, or the name of a container, which stands
	// for its id.
	UID *ID `yaml:"uid"`
	// Group of the directory, as for uid.
	GID *ID `yaml:"gid"`
	// What is placed: the image's files (`filesystem`, the default), or the
	// image itself as an OCI image layout (`oci`).
	Format string `yaml:"format" enum:"filesystem,oci"`
	// With format oci, the platforms of the image that are placed, such as
	// `linux/arm64`; default all.
	Platforms []string `yaml:"platforms"`
	Selection `yaml:",inline"`
}

// Selection tells for which architectures an entry is there, and what becomes
// of an entry before it that has the same name.
type Selection struct {
	// The architectures it is there for, such as `[amd64, arm64]`; default all.
	Arch []string `yaml:"arch"`
	// What it does to the entry of this name (of files, this path) that came
	// before, here or in an included file: `merge` lays the keys of this one over
	// it, `replace` puts this one in its place, `remove` takes it out and has no
	// other keys but the name.
	Override string `yaml:"override" enum:"merge,replace,remove"`
}

// Container is one entry of onboot, onshutdown or services.
type Container struct {
	// Its name: up to 76 letters, digits, `-`, `_` and `.`, beginning with a
	// letter or digit; unique among services.
	Name string `yaml:"name" required:"true"`
	// The image it runs.
	Image Ref `yaml:"image" required:"true"`
	// Services that must be ready before this one starts: running, or healthy
	// where they have a healthcheck. For services only.
	After     []string `yaml:"after"`
	Selection `yaml:",inline"`
	Config    `yaml:",inline"`
}

// File is one entry of files. Exactly one of directory, symlink, contents,
// source and metadata is given.
type File struct {
	// Where it is in the built system.
	Path string `yaml:"path" required:"true"`
	// It is a directory.
	Directory bool `yaml:"directory"`
	// It is a symbolic link; this is its target.
	Symlink string `yaml:"symlink"`
	// It is a file with this text.
	Contents *string `yaml:"contents"`
	// It holds what is here on the building machine: a file, or a directory with
	// all that is in it, relative to the manifest (in a BuildKit build, to the
	// build context); or a URL (http, https), with its checksum.
	Source string `yaml:"source"`
	// The digest of what the URL in source has to give: `sha256:…`.
	Checksum string `yaml:"checksum"`
	// It holds this manifest, as JSON or YAML, files merged and variables replaced.
	Metadata string `yaml:"metadata" enum:"json,yaml"`
	// It is left out when the source is not there.
	Optional bool `yaml:"optional"`
	// Permission bits, octal, in quotes; default `"0600"`, of a directory `"0700"`.
	// Files in a source directory keep theirs unless this is given.
	Mode *Mode `yaml:"mode"`
	// Owner: a number, or the name of a container, which stands for its id.
	UID *ID `yaml:"uid"`
	// Group: a number, or the name of a container, as for uid.
	GID       *ID `yaml:"gid"`
	Selection `yaml:",inline"`
}

// Mode is permission bits with set-id and sticky bits: an octal number in
// quotes, such as `"0644"`.
type Mode uint32

// ID is a user or group id: a number, or the name of a container, which stands
// for the id that the build gave to it.
type ID struct {
	Name string // "" when Num holds
	Num  uint32
}

// Trust was LinuxKit's content trust. It is accepted, without effect.
type Trust struct {
	// Images that had to be signed.
	Image []string `yaml:"image"`
	// Organisations whose images had to be signed.
	Org []string `yaml:"org"`
}

// Arg is an argument of a manifest.
type Arg struct {
	Name     string
	Value    string // as it is used
	Doc      string // what the manifest says of it in a comment
	Required bool   // it has no default
	Pos      source.Pos

	given bool // the build gives it
}

// ErrorAt is a complaint about the value at path, such as "services[2].image";
// about the nearest value around it if there is none.
func (m *Manifest) ErrorAt(path, msg string) *source.Error {
	return errorAt(m.places, path, msg)
}

// PosOf is the place of the value at path, or of the nearest value around it.
func (m *Manifest) PosOf(path string) source.Pos { return errorAt(m.places, path, "").Pos }

// Images lists the image references of m with their paths, in the order of the
// plan: kernel, init, volumes, onboot, onshutdown, services.
func (m *Manifest) Images() iter.Seq2[string, Ref] {
	return func(yield func(string, Ref) bool) {
		if m.Kernel != nil && !yield("kernel.image", m.Kernel.Image) {
			return
		}
		if m.Kernel != nil && m.Kernel.Bootcode.Name != "" && !yield("kernel.bootcode", m.Kernel.Bootcode) {
			return
		}
		for i, r := range m.Init {
			if !yield(fmt.Sprintf("init[%d]", i), r) {
				return
			}
		}
		for i, v := range m.Volumes {
			if v.Image.Name != "" && !yield(fmt.Sprintf("volumes[%d].image", i), v.Image) {
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

// Metadata is the manifest itself, merged and with its variables replaced, as
// "json" or "yaml", keys in byte order.
func (m *Manifest) Metadata(format string) (string, error) {
	var doc map[string]any
	if err := m.doc.Decode(&doc); err != nil {
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
