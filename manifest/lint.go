package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// lint warns of what is legal, but is seldom meant.
func (m *Manifest) lint(d *decoder) {
	if m.Trust != nil {
		d.warn("NoTrust", "trust", "trust has no effect: content trust is gone from the registries", "pin images by digest, and remove the key")
	}
	if k := m.Kernel; k != nil && !strings.Contains(k.Cmdline, "console=") {
		d.warn("NoConsole", "kernel.cmdline", "the command line names no console: the system may boot without a word",
			`add "console=ttyS0" (arm64: ttyAMA0), or "console=tty0" for a screen`)
	}
	m.lintTags(d)
	for i := range m.Services {
		c := &m.Services[i]
		if len(c.Capabilities) == 1 && strings.EqualFold(c.Capabilities[0], "all") {
			d.warn("AllCapabilities", fmt.Sprintf("services[%d].capabilities", i),
				fmt.Sprintf("service %q can do whatever the kernel can", c.Name), "name the capabilities it needs")
		}
	}
	m.lintVolumes(d)
	m.lintNames(d)
	m.lintIDs(d)
}

// lintTags warns of images that can be others tomorrow: of each whose tag is
// latest, and once of all whose digest is not given.
func (m *Manifest) lintTags(d *decoder) {
	first, count := "", 0
	for path, ref := range m.Images() {
		named, err := reference.ParseNormalizedNamed(ref.Text)
		if err != nil {
			continue
		}
		if _, pinned := named.(reference.Digested); pinned {
			continue
		}
		if t, ok := named.(reference.Tagged); !ok || t.Tag() == "latest" {
			d.warn("LatestTag", path, fmt.Sprintf("image %s is whatever was pushed last", reference.FamiliarString(named)),
				`name a version, or pin it by digest: "name@sha256:…"`)
			continue
		}
		if count++; first == "" {
			first = path
		}
	}
	if count > 0 {
		msg := "this image is named by its tag alone, which can be moved"
		if count > 1 {
			msg = fmt.Sprintf("%d images are named by their tags alone, which can be moved; this is the first", count)
		}
		d.warn("TagOnly", first, msg, `"lkx plan" prints the digests: write "name:tag@sha256:…"`)
	}
}

// lintVolumes warns of volumes that no container binds. Labels of images can
// bind them, too, but labels know no names of volumes.
func (m *Manifest) lintVolumes(d *decoder) {
	used := map[string]bool{}
	for _, list := range m.Containers() {
		for i := range list.Items {
			c := &list.Items[i].Config
			for _, s := range slices.Concat(c.Binds, c.BindsAdd) {
				src, _, _ := strings.Cut(s, ":")
				used[src] = true
			}
			for _, mount := range c.Mounts {
				used[mount.Source] = true
			}
		}
	}
	for i, v := range m.Volumes {
		if v.Name != "" && !used[v.Name] {
			d.warn("UnusedVolume", fmt.Sprintf("volumes[%d].name", i), fmt.Sprintf("no container binds volume %q", v.Name),
				fmt.Sprintf(`add "binds: [%s:/…]" to one, or remove the volume`, v.Name))
		}
	}
}

// lintNames warns of a name that an onboot or onshutdown list has twice: as in
// LinuxKit both run, which files that are merged seldom mean.
func (m *Manifest) lintNames(d *decoder) {
	for _, list := range m.Containers()[:2] {
		first := map[string]int{}
		for i, c := range list.Items {
			if j, twice := first[c.Name]; twice && c.Name != "" {
				d.warn("SameName", fmt.Sprintf("%s[%d].name", list.Key, i), fmt.Sprintf("%q runs twice", c.Name),
					fmt.Sprintf(`the first one is at %s; "override: merge" changes it`, d.lineOf(fmt.Sprintf("%s[%d].name", list.Key, j))))
				continue
			}
			first[c.Name] = i
		}
	}
}

// lintIDs warns of ids that mean two things: a name that several containers
// have, and a number that is also given to a container whose name is used.
func (m *Manifest) lintIDs(d *decoder) {
	ids, bearers := m.IDs(), map[string]int{}
	for _, list := range m.Containers() {
		for _, c := range list.Items {
			bearers[c.Name]++
		}
	}
	type use struct {
		path string
		id   *ID
	}
	var uses []use
	for _, list := range m.Containers() {
		for i := range list.Items {
			at := fmt.Sprintf("%s[%d].", list.Key, i)
			uses = append(uses, use{at + "uid", list.Items[i].UID}, use{at + "gid", list.Items[i].GID})
		}
	}
	for i := range m.Files {
		at := fmt.Sprintf("files[%d].", i)
		uses = append(uses, use{at + "uid", m.Files[i].UID}, use{at + "gid", m.Files[i].GID})
	}
	owner := map[uint32]string{}
	for _, u := range uses {
		if u.id != nil && u.id.Name != "" {
			owner[ids[u.id.Name]] = u.id.Name
		}
	}
	for _, u := range uses {
		switch {
		case u.id == nil:
		case u.id.Name != "" && bearers[u.id.Name] > 1:
			d.warn("SameID", u.path, fmt.Sprintf("%d containers are named %q; the id of the last is meant", bearers[u.id.Name], u.id.Name), "write a number")
		case u.id.Name == "" && owner[u.id.Num] != "":
			d.warn("SameID", u.path, fmt.Sprintf("%d is also the id of %q", u.id.Num, owner[u.id.Num]), "choose another number, or write the name")
		}
	}
}

// firstID is the first id that a container is given, as LinuxKit does.
const firstID = 100

// IDs are the ids given to containers, by name, in the order of the lists. A
// name that is there twice has the later one.
func (m *Manifest) IDs() map[string]uint32 {
	ids, next := map[string]uint32{}, uint32(firstID)
	for _, list := range m.Containers() {
		for _, c := range list.Items {
			ids[c.Name] = next
			next++
		}
	}
	return ids
}
