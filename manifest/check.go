package manifest

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// containerName is what may name a container: it becomes a directory, a
// containerd id and part of a cgroup's path.
var containerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,75}$`)

// complain notes a fault of the value at path, unless that value, or something
// in it, could not be decoded: then it is not known what it says.
func (d *decoder) complain(path, msg, hint string) {
	for _, e := range d.undecoded {
		if rest, ok := strings.CutPrefix(e.Path, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return
		}
	}
	e := errorAt(d.places, path, msg)
	e.Hint = hint
	d.errs = append(d.errs, e)
}

func (d *decoder) warn(path, msg, hint string) {
	e := errorAt(d.places, path, msg)
	e.Hint = hint
	d.warnings = append(d.warnings, e)
}

// check finds the faults that types cannot show.
func (m *Manifest) check(d *decoder) {
	if m.Trust != nil {
		d.warn("trust", "trust has no effect: content trust is gone from the registries", "pin images by digest, and remove the key")
	}
	if k := m.Kernel; k != nil {
		if k.Image.Name == "" {
			d.complain("kernel", "the kernel has no image", `add "image: ghcr.io/lkx-os/kernel:0.1"`)
		}
		for key, p := range map[string]string{"binary": k.Binary, "ucode": k.Ucode} {
			if p != "" && !localPath(p) {
				d.complain("kernel."+key, fmt.Sprintf("%q leaves the image", p), "write a path inside the image")
			}
		}
	}
	for _, list := range m.Containers() {
		names := map[string]int{}
		for i := range list.Items {
			at := fmt.Sprintf("%s[%d]", list.Key, i)
			d.checkContainer(&list.Items[i], at)
			name := list.Items[i].Name
			if first, twice := names[name]; twice && name != "" && list.Key == "services" {
				d.complain(at+".name", fmt.Sprintf("service %q is already defined", name),
					fmt.Sprintf("the first one is in line %d", d.places[fmt.Sprintf("services[%d].name", first)].pos.Line))
				continue
			}
			names[name] = i
		}
	}
	for i := range m.Files {
		d.checkFile(&m.Files[i], fmt.Sprintf("files[%d]", i))
	}
}

// List is one of a manifest's lists of containers.
type List struct {
	Key   string // "onboot", "onshutdown" or "services"
	Items []Container
}

// Containers are the lists of containers in the order LinuxKit numbers them.
func (m *Manifest) Containers() []List {
	return []List{{"onboot", m.Onboot}, {"onshutdown", m.Onshutdown}, {"services", m.Services}}
}

func (d *decoder) checkContainer(c *Container, at string) {
	switch {
	case c.Name == "":
		d.complain(at, "a container needs a name", `add "name: …"`)
	case !containerName.MatchString(c.Name):
		d.complain(at+".name", fmt.Sprintf("%q cannot name a container", c.Name),
			`use up to 76 letters, digits, "-", "_" and ".", beginning with a letter or digit`)
	}
	if c.Image.Name == "" {
		d.complain(at, "a container needs an image", `add "image: …"`)
	}
	d.checkConfig(&c.Config, at)
}

func (d *decoder) checkFile(f *File, at string) {
	clean := path.Clean("/" + f.Path)
	switch {
	case f.Path == "":
		d.complain(at, "a file needs a path", `add "path: …"`)
		return
	case clean == "/" && !f.Directory:
		d.complain(at+".path", "the root directory is not a file", "")
		return
	case slices.Contains(strings.Split(f.Path, "/"), ".."):
		d.complain(at+".path", fmt.Sprintf("%q contains \"..\"", f.Path), "write the path from the root of the built system")
		return
	}
	var given []string
	for _, k := range []struct {
		key string
		set bool
	}{
		{"directory", f.Directory},
		{"symlink", f.Symlink != ""},
		{"contents", f.Contents != nil},
		{"source", f.Source != ""},
		{"metadata", f.Metadata != ""},
	} {
		if k.set {
			given = append(given, k.key)
		}
	}
	switch {
	case len(given) == 0:
		d.complain(at, "nothing says what the file holds", "add one of: contents, source, symlink, directory, metadata")
	case len(given) > 1:
		d.complain(at+"."+given[1], fmt.Sprintf("%s and %s exclude each other", given[0], given[1]), "keep one of them")
	}
	if f.Optional && f.Source == "" {
		d.complain(at+".optional", "optional needs a source", "only a source can be missing")
	}
	if f.Metadata != "" && f.Metadata != "json" && f.Metadata != "yaml" {
		d.complain(at+".metadata", fmt.Sprintf("unknown metadata %q", f.Metadata), "allowed: json, yaml")
	}
	d.hiddenFile(clean, at)
}

// hiddenFile warns of a file that nobody will see: these directories are
// mounted over at boot.
func (d *decoder) hiddenFile(clean, at string) {
	for _, dir := range []string{"/dev/", "/proc/", "/run/", "/sys/", "/tmp/", "/var/"} {
		if strings.HasPrefix(clean, dir) {
			d.warn(at+".path", fmt.Sprintf("%s is hidden at run time: %s is mounted over at boot", clean, strings.TrimSuffix(dir, "/")), "")
		}
	}
}

// localPath tells whether p stays below the root it is used in.
func localPath(p string) bool {
	return !slices.Contains(strings.Split(p, "/"), "..")
}
