package manifest

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/lkx-os/lkx/internal/source"
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

// warn notes what is legal, but suspicious; rule names the kind.
func (d *decoder) warn(rule, path, msg, hint string) {
	e := errorAt(d.places, path, msg)
	e.Rule, e.Hint = rule, hint
	d.warnings = append(d.warnings, e)
}

// check finds the faults that types cannot show.
func (m *Manifest) check(d *decoder) {
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
	volumes := m.checkVolumes(d)
	for _, list := range m.Containers() {
		names := map[string]int{}
		for i := range list.Items {
			at := fmt.Sprintf("%s[%d]", list.Key, i)
			d.checkContainer(&list.Items[i], at, list.Key, volumes)
			name := list.Items[i].Name
			if first, twice := names[name]; twice && name != "" && list.Key == "services" {
				d.complain(at+".name", fmt.Sprintf("service %q is already defined", name),
					fmt.Sprintf(`the first one is at %s; "override: merge" changes it`, d.lineOf(fmt.Sprintf("services[%d].name", first))))
				continue
			}
			names[name] = i
		}
	}
	m.checkOrder(d)
	for i := range m.Files {
		d.checkFile(&m.Files[i], fmt.Sprintf("files[%d]", i))
	}
	m.lint(d)
}

// lineOf is "file:line" of the value at path.
func (d *decoder) lineOf(path string) string {
	pos := errorAt(d.places, path, "").Pos
	return fmt.Sprintf("%s:%d", pos.File.Name, pos.Line)
}

// volumeName is what may name a volume: it becomes a directory, and must not
// look like a path.
var volumeName = regexp.MustCompile(`^[a-z0-9_-]+$`)

// checkVolumes returns the volumes by name.
func (m *Manifest) checkVolumes(d *decoder) map[string]*Volume {
	out := map[string]*Volume{}
	for i := range m.Volumes {
		v, at := &m.Volumes[i], fmt.Sprintf("volumes[%d]", i)
		switch {
		case v.Name == "":
			d.complain(at, "a volume needs a name", `add "name: …"`)
		case !volumeName.MatchString(v.Name):
			d.complain(at+".name", fmt.Sprintf("%q cannot name a volume", v.Name), `use lower-case letters, digits, "-" and "_"`)
		case out[v.Name] != nil:
			d.complain(at+".name", fmt.Sprintf("volume %q is already defined", v.Name), "")
		}
		if v.Format == "oci" && v.Image.Name == "" {
			d.complain(at, "a volume with format oci needs an image", `add "image: …"`)
		}
		if v.Platforms != nil && v.Format != "oci" {
			d.complain(at+".platforms", "only a volume with format oci has platforms", "one with format filesystem holds the image for the platform that is built for")
		}
		for j, p := range v.Platforms {
			if _, err := platforms.Parse(p); err != nil || !strings.Contains(p, "/") {
				d.complain(fmt.Sprintf("%s.platforms[%d]", at, j), fmt.Sprintf("%q is not a platform", p), `write "linux/arm64"`)
			}
		}
		out[v.Name] = v
	}
	return out
}

// checkOrder looks for services that wait for what never comes.
func (m *Manifest) checkOrder(d *decoder) {
	index := map[string]int{}
	var names []string
	for i, s := range m.Services {
		index[s.Name] = i
		names = append(names, s.Name)
	}
	state := make([]int, len(m.Services)) // 1: on the way, 2: done
	var visit func(i int, way []string)
	visit = func(i int, way []string) {
		way = append(way, m.Services[i].Name)
		state[i] = 1
		for j, name := range m.Services[i].After {
			at := fmt.Sprintf("services[%d].after[%d]", i, j)
			k, ok := index[name]
			switch {
			case !ok:
				d.complain(at, fmt.Sprintf("no service is named %q", name), source.Nearest(name, names))
			case state[k] == 1:
				d.complain(at, "services wait for each other: "+strings.Join(append(way[slices.Index(way, name):], name), " → "), "remove one of them")
			case state[k] == 0:
				visit(k, way)
			}
		}
		state[i] = 2
	}
	for i := range m.Services {
		if state[i] == 0 {
			visit(i, nil)
		}
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

func (d *decoder) checkContainer(c *Container, at, list string, volumes map[string]*Volume) {
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
	for key, given := range map[string]bool{"after": c.After != nil, "restart": c.Restart != "", "healthcheck": c.Healthcheck != nil} {
		if given && list != "services" {
			d.complain(at+"."+key, fmt.Sprintf("%s is for services, and this is %s", key, list), "these containers run once, one after the other")
		}
	}
	d.checkConfig(&c.Config, at, volumes)
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
	d.checkSum(f, at)
	d.hiddenFile(clean, at)
}

// checkSum looks at the digest of a file, which a URL must have.
func (d *decoder) checkSum(f *File, at string) {
	switch {
	case f.IsURL() && f.Checksum == "":
		d.complain(at+".source", "a URL needs a checksum", `add "checksum: sha256:…", as sha256sum prints it`)
	case !f.IsURL() && f.Checksum != "":
		d.complain(at+".checksum", "only a URL has a checksum", "")
	case f.IsURL() && f.Optional:
		d.complain(at+".optional", "a URL cannot be optional", "what is built must not depend on whether it was reachable")
	case f.Checksum != "" && digest.Digest(f.Checksum).Validate() != nil:
		d.complain(at+".checksum", fmt.Sprintf("%q is not a digest", f.Checksum), `write "sha256:" and 64 hexadecimal digits`)
	}
}

// hiddenFile warns of a file that nobody will see: these directories are
// mounted over at boot.
func (d *decoder) hiddenFile(clean, at string) {
	for _, dir := range []string{"/dev/", "/proc/", "/run/", "/sys/", "/tmp/", "/var/"} {
		if strings.HasPrefix(clean, dir) {
			d.warn("HiddenFile", at+".path", fmt.Sprintf("%s is hidden at run time: %s is mounted over at boot", clean, strings.TrimSuffix(dir, "/")), "")
		}
	}
}

// localPath tells whether p stays below the root it is used in.
func localPath(p string) bool {
	return !slices.Contains(strings.Split(p, "/"), "..")
}
