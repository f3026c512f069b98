package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/oci"
)

// Type bits of File.Mode, as in inode(7).
const (
	typeRegular = 0o100000
	typeDir     = 0o040000
	typeSymlink = 0o120000
)

// dropped is what of an image never reaches the built system: traces of how it
// was made, and mount points that are made anew.
var dropped = []string{".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"}

const (
	hosts = `127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
`
	noResolver = "# no resolv configured\n"
)

// ensured is what every root file system has, whether or not its image does.
func ensured(base string) []File {
	var out []File
	for _, name := range []string{"dev", "dev/pts", "dev/shm", "etc", "proc", "sys"} {
		out = append(out, dir(path.Join(base, name), 0o755))
	}
	return append(out, File{Path: path.Join(base, "etc/mtab"), Mode: typeSymlink | 0o777, Link: "/proc/mounts"})
}

func dir(name string, perm uint32) File { return File{Path: name, Mode: typeDir | perm} }

func regular(name string, perm uint32, contents string) File {
	return File{Path: name, Mode: typeRegular | perm, Contents: contents}
}

// container places entry i of the list key: its image and the two files it
// runs by, in the layout of LinuxKit's bundles.
func (b *builder) container(key string, i int, c *manifest.Container) {
	at := fmt.Sprintf("%s[%d]", key, i)
	name := c.Name
	if key != "services" {
		name = fmt.Sprintf("%03d-%s", i, c.Name)
	}
	base := path.Join("containers", key, name)
	img := b.images[c.Image.Name]
	bundle, err := b.bundle(at, c, img)
	if err != nil {
		return
	}
	s := b.step(at, key+"/"+c.Name, c.Image.Name)
	if key != "services" {
		bundle.Runtime.Restart, bundle.Runtime.Healthcheck = "", nil
	}
	bundle.Runtime.After = c.After
	root := b.rootfs(&s, base, img, &bundle)
	mounts := rootMounts(base, root, bundle.Spec.Root.Readonly)
	bundle.Runtime.Mounts = append(mounts, bundle.Runtime.Mounts...)
	s.Files = append(s.Files,
		regular(path.Join(base, "config.json"), 0o644, indented(bundle.Spec)),
		regular(path.Join(base, "runtime.json"), 0o644, indented(bundle.Runtime)))
	b.parents755(base)
	b.steps = append(b.steps, s)
}

// parents755 notes that name and all above it are needed.
func (b *builder) parents755(name string) {
	for d := name; d != "."; d = path.Dir(d) {
		b.parent(dir(d, 0o755))
	}
}

// bundle makes what a container runs by. Faults are noted; a non-nil error
// says only that there were some.
func (b *builder) bundle(at string, c *manifest.Container, img Image) (oci.Bundle, error) {
	conf, err := oci.ParseImage(img.Config)
	if err == nil {
		var label manifest.Config
		if label, err = labelOf(c.Image, conf); err == nil {
			var out oci.Bundle
			if out, err = oci.New(c.Name, oci.Merge(label, c.Config), conf, b.sys); err == nil {
				return out, nil
			}
			b.fault(at, err)
			return oci.Bundle{}, err
		}
	}
	b.fault(at+".image", err)
	return oci.Bundle{}, err
}

// labelOf reads the settings that an image carries.
func labelOf(ref manifest.Ref, conf ocispec.ImageConfig) (manifest.Config, error) {
	text := conf.Labels[oci.Label]
	if text == "" {
		return manifest.Config{}, nil
	}
	c, err := manifest.ParseConfig(&source.File{Name: "label", Data: []byte(text)})
	if err != nil {
		return c, fmt.Errorf("label %s of image %s: %w", oci.Label, ref.Text, err)
	}
	return c, nil
}

// rootfs places an image below base, unless a container before has placed it
// with the same owners, and returns where it is. On a writable root file system
// the image is the lower layer of an overlay.
func (b *builder) rootfs(s *Step, base string, img Image, bundle *oci.Bundle) string {
	spec := &bundle.Spec
	readonly := spec.Root.Readonly
	if !readonly {
		s.Files = append(s.Files, dir(path.Join(base, "tmp"), 0o755), dir(path.Join(base, "rootfs"), 0o755))
	}
	uids, gids := spec.Linux.UIDMappings, spec.Linux.GIDMappings
	chain := img.Chain()
	if chain != "" && len(uids)+len(gids) > 0 {
		chain += fmt.Sprint(uids, gids)
	}
	own := func(files ...File) []File {
		for i := range files {
			files[i].UID, _ = oci.Outside(uids, 0)
			files[i].GID, _ = oci.Outside(gids, 0)
		}
		return files
	}
	if c, ok := b.copied[chain]; ok && chain != "" {
		if readonly {
			s.Files = append(s.Files, dir(path.Join(base, "rootfs"), 0o755))
			first := &b.steps[c.step]
			first.Defaults = append(first.Defaults, own(mountPoints(c.at, bundle)...)...)
		}
		return c.at
	}
	at := path.Join(base, "lower")
	if readonly {
		at = path.Join(base, "rootfs")
	}
	b.copied[chain] = placed{at, len(b.steps)}
	s.Defaults = own(append([]File{dir(at, 0o755)}, ensured(at)...)...)
	if readonly {
		s.Defaults = append(s.Defaults, own(mountPoints(at, bundle)...)...)
	}
	s.Copies = []Copy{{Image: img, Dest: at, Drop: dropped, UIDs: uids, GIDs: gids}}
	s.Files = append(s.Files, own(
		regular(path.Join(at, "etc/hosts"), 0o644, hosts),
		regular(path.Join(at, "etc/resolv.conf"), 0o644, noResolver))...)
	return at
}

// mountPoints are the directories in a read-only root file system at that
// something is mounted on, and that nothing could make on the target: those of
// all mounts but binds of what may be a file.
func mountPoints(at string, bundle *oci.Bundle) []File {
	var out []File
	for _, m := range bundle.Spec.Mounts {
		bound := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
		known := !bound || strings.HasPrefix(m.Source, "/"+volumesDir+"/") || slices.Contains(bundle.Runtime.Mkdir, m.Source)
		name := clean(m.Destination)
		top, _, _ := strings.Cut(name, "/")
		if known && !slices.Contains([]string{"", "dev", "proc", "sys"}, top) {
			out = append(out, dir(path.Join(at, name), 0o755))
		}
	}
	return out
}

// rootMounts make the container's root file system on the target. A bind of a
// read-only one onto itself makes it a mount point; an overlay's upper layer is
// on a tmpfs that nothing else sees.
func rootMounts(base, root string, readonly bool) []specs.Mount {
	abs := func(name string) string { return path.Join("/", base, name) }
	if readonly {
		return []specs.Mount{{Destination: abs("rootfs"), Type: "bind", Source: "/" + root, Options: []string{"bind"}}}
	}
	return []specs.Mount{
		{Destination: abs("tmp"), Type: "tmpfs", Source: "tmpfs"},
		{Destination: abs("tmp"), Options: []string{"remount", "private"}},
		{
			Destination: abs("rootfs"), Type: "overlay", Source: "overlay",
			Options: []string{"lowerdir=/" + root, "upperdir=" + abs("tmp/upper"), "workdir=" + abs("tmp/work")},
		},
	}
}

// indented is v as LinuxKit writes JSON: four blanks, nothing escaped for HTML.
func indented(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	if err := enc.Encode(v); err != nil {
		panic(err) // the types are ours and can always be encoded
	}
	return strings.TrimSuffix(buf.String(), "\n")
}

// short is the last element of a reference's path, without tag and digest.
func short(ref string) string {
	name, _, _ := strings.Cut(path.Base(strings.Split(ref, "@")[0]), ":")
	return name
}
