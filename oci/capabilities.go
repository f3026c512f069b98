package oci

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lkx-os/lkx/manifest"
)

// capabilities are the five sets of capabilities(7). The bounding, permitted
// and inheritable sets hold the ambient ones too, or these could not be raised.
func capabilities(c manifest.Config) *specs.LinuxCapabilities {
	effective := expand(c.Capabilities)
	ambient := expand(c.Ambient)
	bounding := unique(append(slices.Clone(effective), ambient...))
	slices.Sort(bounding)
	return &specs.LinuxCapabilities{
		Bounding:    bounding,
		Effective:   effective,
		Inheritable: bounding,
		Permitted:   bounding,
		Ambient:     ambient,
	}
}

// expand replaces a lone "all" or "none", and drops repetitions.
func expand(list []string) []string {
	if len(list) == 1 {
		switch strings.ToLower(list[0]) {
		case "all":
			return slices.Clone(manifest.Capabilities)
		case "none":
			return []string{}
		}
	}
	return unique(list)
}

// unique is list without repetitions, each item where it stood first.
func unique(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
