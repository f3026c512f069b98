// Package plan pins a manifest: every image to a digest, every container to an
// OCI runtime specification, every file to a place.
package plan

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/oci"
)

// Plan is all that is needed to make a root file system, and nothing else. It
// is plain data: equal manifests and equal images give equal JSON.
type Plan struct {
	Platform string `json:"platform"`       // "linux/amd64"
	Boot     *Step  `json:"boot,omitempty"` // what loads the system: kernel, command line, microcode, in boot/
	Code     *Step  `json:"code,omitempty"` // boot code, for formats that need it; no part of the system
	Steps    []Step `json:"steps"`          // the system itself; applied in order, later over earlier
}

// Paths of what loads the system, in the tree of [Plan.Boot].
const (
	KernelPath  = "boot/kernel"
	CmdlinePath = "boot/cmdline"
	UcodePath   = "boot/ucode.cpio"
)

// Cmdline is the kernel's command line.
func (p *Plan) Cmdline() string {
	if p.Boot != nil {
		for _, f := range p.Boot.Files {
			if f.Path == CmdlinePath {
				return f.Contents
			}
		}
	}
	return ""
}

// Images are the images of p, each once, in the order they are first used.
func (p *Plan) Images() []Image {
	return Images(beside(p.Boot, p.Code, p.Steps)...)
}

// beside is steps after those of boot and code that are there.
func beside(boot, code *Step, steps []Step) []Step {
	var out []Step
	for _, s := range []*Step{boot, code} {
		if s != nil {
			out = append(out, *s)
		}
	}
	return append(out, steps...)
}

// Images are the images of steps, each once, in the order they are first used.
func Images(steps ...Step) []Image {
	var out []Image
	seen := map[string]bool{}
	for _, s := range steps {
		for _, c := range s.Copies {
			if !seen[c.Image.Pinned()] {
				seen[c.Image.Pinned()] = true
				out = append(out, c.Image)
			}
		}
	}
	return out
}

// Step is one part of the root file system: what one entry of the manifest
// asks for. Defaults lie under Copies, and Files over them.
type Step struct {
	Name     string     `json:"name"`               // where the manifest asks for it: "kernel", "init[0]", "volumes[1]", "services[2]", "files"
	Title    string     `json:"title"`              // for people: "services/sshd"
	Source   string     `json:"source"`             // the image as the manifest names it, or "linuxkit.files"
	Defaults []File     `json:"defaults,omitempty"` // what Copies may override
	Copies   []Copy     `json:"copies,omitempty"`
	Files    []File     `json:"files,omitempty"`
	Pos      source.Pos `json:"-"`
}

// FilesSource is the Source of what no image brought, as LinuxKit names it.
const FilesSource = "linuxkit.files"

// Blobs are the blobs that steps need, each once, in the order they are first used.
func Blobs(steps ...Step) []Blob {
	var out []Blob
	seen := map[string]bool{}
	for _, s := range steps {
		for _, f := range s.Files {
			if f.Blob != nil && !seen[f.Blob.Digest] {
				seen[f.Blob.Digest] = true
				out = append(out, *f.Blob)
			}
		}
	}
	return out
}

// contextPaths are the paths of the build context that s reads.
func (s *Step) contextPaths() []string {
	var out []string
	for _, f := range s.Files {
		if f.Source != "" {
			out = append(out, f.Source)
		}
	}
	return out
}

// Copy places an image, or a part of it.
type Copy struct {
	Image  Image    `json:"image"`
	From   string   `json:"from,omitempty"`   // path of one file in the image; "" is all of it
	Unpack bool     `json:"unpack,omitempty"` // From is a tar archive: what it holds is placed
	Dest   string   `json:"dest,omitempty"`   // path in the root file system, no leading slash; "" is the root
	Drop   []string `json:"drop,omitempty"`   // paths in the image that are left out, with all below

	// Owners that the image's have in the root file system, where they differ;
	// those that are not mapped stay.
	UIDs []specs.LinuxIDMapping `json:"uids,omitempty"`
	GIDs []specs.LinuxIDMapping `json:"gids,omitempty"`
}

// Owner is who owns, in the root file system, what uid and gid own in the image.
func (c *Copy) Owner(uid, gid uint32) (uint32, uint32) {
	uid, _ = oci.Outside(c.UIDs, uid)
	gid, _ = oci.Outside(c.GIDs, gid)
	return uid, gid
}

// File is one file, directory or symbolic link that no image brought.
type File struct {
	Path     string `json:"path"`               // in the root file system, no leading slash
	Mode     uint32 `json:"mode"`               // st_mode of inode(7): type and permissions
	UID      uint32 `json:"uid,omitempty"`      // owner
	GID      uint32 `json:"gid,omitempty"`      // group
	Link     string `json:"link,omitempty"`     // target of a symbolic link
	Contents string `json:"contents,omitempty"` // of a regular file, unless Source is set
	Source   string `json:"source,omitempty"`   // path in the build context that holds the contents
	Blob     *Blob  `json:"blob,omitempty"`     // what holds the contents, else
	Deep     *Deep  `json:"deep,omitempty"`     // Source is a directory, of which all is placed
	Location string `json:"location,omitempty"` // where the manifest asks for it: "files[3]"; "" is the step's name

	Pos source.Pos `json:"-"`
}

// Deep tells how the files of a directory are placed. Their owners are those of
// the File.
type Deep struct {
	OwnModes bool   `json:"ownModes,omitempty"` // all keep their permission bits
	FileMode uint32 `json:"fileMode,omitempty"` // else: of files; directories have the mode of the File
}

// Pinned is the image's reference with its digest, which names the same bytes
// for ever; without one, the reference alone.
func (i Image) Pinned() string {
	name := i.Ref
	if i.Digest == "" {
		return name
	}
	name, _, _ = strings.Cut(name, "@")
	return name + "@" + i.Digest
}

// Chain identifies an image's contents: the digests of its layers (image-spec,
// config.md, rootfs.diff_ids), or its digest; "" when neither is known.
func (i Image) Chain() string {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(i.Config, &c) == nil && len(c.RootFS.DiffIDs) > 0 {
		return strings.Join(c.RootFS.DiffIDs, ",")
	}
	return i.Digest
}

// check tells whether the image is for platform: a reference that names one
// image, not an index, resolves whatever that is made for.
func (i Image) check(platform string) error {
	var c struct{ OS, Architecture string }
	if err := json.Unmarshal(i.Config, &c); err != nil {
		return fmt.Errorf("%s: reading the image's config: %w", i.Ref, err)
	}
	os, rest, _ := strings.Cut(platform, "/")
	arch, _, _ := strings.Cut(rest, "/")
	if c.Architecture != "" && (c.OS != os || c.Architecture != arch) {
		return fmt.Errorf("%s: the image is for %s/%s, not for %s", i.Ref, c.OS, c.Architecture, platform)
	}
	return nil
}

// clean is p as trees name it: no leading slash, no "." elements.
func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }
