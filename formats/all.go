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
		Name:   "iso",
		Doc:    "a CD that is also a disk for USB; boots with BIOS and UEFI",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".iso"),
		Write:  iso(both, ".iso"),
	},
	{
		Name:   "iso-bios",
		Doc:    "the same for BIOS alone",
		Arches: []string{"amd64"},
		Needs:  booted,
		Files:  suffixes(".iso"),
		Write:  iso(firmware{bios: true}, ".iso"),
	},
	{
		Name:   "iso-efi",
		Doc:    "the same for UEFI alone",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes("-efi.iso"),
		Write:  iso(firmware{efi: true}, "-efi.iso"),
	},
	{
		Name:   "iso-efi-initrd",
		Doc:    "the same as iso-efi, under LinuxKit's other name",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes("-efi-initrd.iso"),
		Write:  iso(firmware{efi: true}, "-efi-initrd.iso"),
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
		Name: "qcow2", Aliases: []string{"openstack"},
		Doc:    "a disk for QEMU, KVM and OpenStack that boots with BIOS and UEFI",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".qcow2"),
		Write:  qcow2Disk(both, ".qcow2"),
	},
	{
		Name:   "qcow2-bios",
		Doc:    "the same for BIOS alone",
		Arches: []string{"amd64"},
		Needs:  booted,
		Files:  suffixes(".qcow2"),
		Write:  qcow2Disk(firmware{bios: true}, ".qcow2"),
	},
	{
		Name:   "qcow2-efi",
		Doc:    "the same for UEFI alone",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes("-efi.qcow2"),
		Write:  qcow2Disk(firmware{efi: true}, "-efi.qcow2"),
	},
	{
		Name: "vhd", Aliases: []string{"azure"},
		Doc:    "a fixed disk for Azure and Hyper-V",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".vhd"),
		Write:  wrapped(both, ".vhd", fixedVHD),
	},
	{
		Name:   "dynamic-vhd",
		Doc:    "a disk for Hyper-V and Xen that is as large as what it holds",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".vhd"),
		Write:  wrapped(both, ".vhd", dynamicVHD),
	},
	{
		Name:   "vhdx",
		Doc:    "a disk for Hyper-V since 2012",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".vhdx"),
		Write:  wrapped(both, ".vhdx", newerVHD),
	},
	{
		Name:   "vmdk",
		Doc:    "a stream-optimized disk for VMware",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".vmdk"),
		Write:  vmwareDisk,
	},
	{
		Name:   "ova",
		Doc:    "a virtual machine for VMware: the disk and its description in one archive",
		Arches: []string{"amd64"},
		Needs:  booted,
		Files:  suffixes(".ova"),
		Write:  appliance,
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
		Name:   "gcp",
		Doc:    "a disk for Google Compute Engine, in the archive that it imports",
		Arches: []string{"amd64", "arm64"},
		Needs:  booted,
		Files:  suffixes(".img.tar.gz"),
		Write:  googleImage,
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
