package oci

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// idRange is how many ids a container has whose settings ask for a user
// namespace, but not for certain ids: all that files of images have.
const idRange = 1 << 16

// userNamespace completes what c says of a user namespace (user_namespaces(7)).
// Ids that are mapped ask for one; own is the id that is the container's alone,
// from which its ids are taken where it asks for one and maps none.
func userNamespace(c manifest.Config, own uint32) (manifest.Config, error) {
	mapped := c.UIDMappings != nil || c.GIDMappings != nil
	if c.Userns == "" && mapped {
		c.Userns = "new"
	}
	if c.Userns != "new" {
		if mapped && (c.Userns == "host" || c.Userns == "root") {
			return c, &FieldError{
				Field: "userns", Msg: "ids are mapped, and there is no user namespace to map them in",
				Hint: `write "userns: new", or leave the mappings out`,
			}
		}
		return c, nil
	}
	if !mapped {
		c.UIDMappings = []manifest.IDMapping{{ContainerID: 0, HostID: own * idRange, Size: idRange}}
	}
	if c.GIDMappings == nil {
		c.GIDMappings = c.UIDMappings
	}
	if c.UIDMappings == nil {
		c.UIDMappings = c.GIDMappings
	}
	return c, nil
}

// checkMapped looks whether the ids that the process has are mapped, and root,
// as whom a runtime prepares the container.
func checkMapped(user specs.User, l *specs.Linux) error {
	if !slices.ContainsFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace && n.Path == "" }) {
		return nil
	}
	for _, list := range []struct {
		field string
		maps  []specs.LinuxIDMapping
		ids   []uint32
	}{
		{"uidMappings", l.UIDMappings, []uint32{0, user.UID}},
		{"gidMappings", l.GIDMappings, append([]uint32{0, user.GID}, user.AdditionalGids...)},
	} {
		for _, id := range list.ids {
			if _, ok := Outside(list.maps, id); !ok {
				return &FieldError{
					Field: list.field, Msg: fmt.Sprintf("the container runs with id %d, which is not mapped", id),
					Hint: "map 0, as whom it is prepared, and what uid, gid and additionalGids name",
				}
			}
		}
	}
	return nil
}

// Outside is what a container's id is outside of its user namespace, and
// whether it is mapped at all. Without mappings there is no namespace, and ids
// are the same.
func Outside(maps []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return id, len(maps) == 0
}
