package formats

// All is every format, in the order "lkx formats" lists them.
var All = []Format{
	{
		Name: "kernel+initrd", Aliases: []string{"kernel-initrd"},
		Doc:   "kernel, initrd and command line, to be loaded by a hypervisor or over the network",
		Needs: Needs{Kernel: true, Initrd: true},
		Files: suffixes("-kernel", "-initrd.img", "-cmdline"),
		Write: kernelInitrd,
	},
	{
		Name:  "tar-kernel-initrd",
		Doc:   "the same in one tar archive, microcode by itself",
		Needs: Needs{Kernel: true, Initrd: true},
		Files: suffixes("-initrd.tar"),
		Write: tarKernelInitrd,
	},
	{
		Name:   "uki",
		Doc:    "a Unified Kernel Image: one program for UEFI, or for kexec and boot managers",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".efi"),
		Write:  unifiedImage,
	},
	{
		Name:   "raw",
		Doc:    "a disk that boots with BIOS and UEFI",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".img"),
		Write:  rawDisk(both, ".img"),
	},
	{
		Name:   "raw-bios",
		Doc:    "a disk that boots with BIOS",
		Arches: []string{"amd64"},
		Needs:  booted,
		Files:  suffixes("-bios.img"),
		Write:  rawDisk(firmware{bios: true}, "-bios.img"),
	},
	{
		Name:   "raw-efi",
		Doc:    "a disk that boots with UEFI",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes("-efi.img"),
		Write:  rawDisk(firmware{efi: true}, "-efi.img"),
	},
	{
		Name:   "aws",
		Doc:    "a disk for import into Amazon EC2: the same as raw",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".raw"),
		Write:  rawDisk(both, ".raw"),
	},
	{
		Name:  "tar",
		Doc:   "the root file system, kernel included, as a tar archive",
		Needs: Needs{Root: true},
		Files: suffixes(".tar"),
		Write: tarArchive,
	},
}

// booted is what a system that boots by itself is made from.
var booted = Needs{Kernel: true, Code: true, Initrd: true}

// suffixes are file names made of a build's base name.
func suffixes(list ...string) func(string) []string {
	return func(base string) []string {
		out := make([]string, len(list))
		for i, s := range list {
			out[i] = base + s
		}
		return out
	}
}
