package oci

import (
	"fmt"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// seccompArches are the profile's names of architectures, by GOARCH.
var seccompArches = map[string]specs.Arch{
	"386": specs.ArchX86, "amd64": specs.ArchX86_64, "arm": specs.ArchARM, "arm64": specs.ArchAARCH64,
	"loong64": specs.ArchLOONGARCH64, "mips64le": specs.ArchMIPSEL64, "ppc64le": specs.ArchPPC64LE,
	"riscv64": specs.ArchRISCV64, "s390x": specs.ArchS390X,
}

// seccompProfile is the profile that container engines use by default, for a
// container with these capabilities. Its conditions are decided here and not by
// the library, which would ask the building machine for its kernel and
// architecture. Kernels older than any condition asks for do not boot lkx.
func seccompProfile(arch string, caps []string) (*specs.LinuxSeccomp, error) {
	native, ok := seccompArches[arch]
	if !ok {
		return nil, fmt.Errorf("there is no seccomp profile for %s", arch)
	}
	name := arch
	if arch == "386" {
		name = "x86"
	}
	has := func(c string) bool { return slices.Contains(caps, c) }
	lacks := func(c string) bool { return !has(c) }
	p := seccomp.DefaultProfile()
	out := &specs.LinuxSeccomp{DefaultAction: p.DefaultAction, DefaultErrnoRet: p.DefaultErrnoRet}
	for _, a := range p.ArchMap {
		if a.Arch == native {
			out.Architectures = append([]specs.Arch{a.Arch}, a.SubArches...)
		}
	}
	for _, call := range p.Syscalls {
		if in := call.Includes; in != nil && (len(in.Arches) > 0 && !slices.Contains(in.Arches, name) || slices.ContainsFunc(in.Caps, lacks)) {
			continue
		}
		if ex := call.Excludes; ex != nil && (slices.Contains(ex.Arches, name) || ex.MinKernel != nil || slices.ContainsFunc(ex.Caps, has)) {
			continue
		}
		out.Syscalls = append(out.Syscalls, call.LinuxSyscall)
	}
	return out, nil
}
