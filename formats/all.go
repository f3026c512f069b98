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
		Name:  "tar",
		Doc:   "the root file system, kernel included, as a tar archive",
		Needs: Needs{Root: true},
		Files: suffixes(".tar"),
		Write: tarArchive,
	},
}

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
