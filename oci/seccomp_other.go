//go:build !linux

package oci

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// seccompProfile needs the table of system calls, which only Linux builds have.
func seccompProfile(string, []string) (*specs.LinuxSeccomp, error) {
	return nil, errors.New("the default profile is only known to lkx on Linux: build with --builder")
}
