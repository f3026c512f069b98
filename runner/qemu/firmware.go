package qemu

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// A flash is UEFI's code and the store of its variables, two files side by side.
type flash struct{ dir, code, vars string }

// flashes are where distributions put UEFI for an architecture, the first that
// is there counts: Debian and Ubuntu, Fedora, Arch, QEMU's own and Homebrew's.
var flashes = map[string][]flash{
	"amd64": {
		{"/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"},
		{"/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"},
		{"/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"},
		{"/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"},
		{"/usr/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"},
		{"/opt/homebrew/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"},
	},
	"arm64": {
		{"/usr/share/AAVMF", "AAVMF_CODE.fd", "AAVMF_VARS.fd"},
		{"/usr/share/edk2/aarch64", "QEMU_EFI-pflash.raw", "vars-template-pflash.raw"},
		{"/usr/share/qemu", "edk2-aarch64-code.fd", "edk2-arm-vars.fd"},
		{"/opt/homebrew/share/qemu", "edk2-aarch64-code.fd", "edk2-arm-vars.fd"},
	},
}

// efiPackages are the Debian packages with UEFI.
var efiPackages = map[string]string{"amd64": "ovmf", "arm64": "qemu-efi-aarch64"}

// efi finds UEFI for a machine.
func efi(arch string, stat func(string) (fs.FileInfo, error)) (code, vars string, err error) {
	var looked []string
	for _, f := range flashes[arch] {
		code, vars = filepath.Join(f.dir, f.code), filepath.Join(f.dir, f.vars)
		_, err1 := stat(code)
		_, err2 := stat(vars)
		if err1 == nil && err2 == nil {
			return code, vars, nil
		}
		looked = append(looked, code)
	}
	return "", "", fmt.Errorf("UEFI for virtual machines is not installed (Debian and Ubuntu: apt install %s); looked for %s",
		efiPackages[arch], strings.Join(looked, ", "))
}
