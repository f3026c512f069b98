package frontend

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerui"

	"github.com/lkx-os/lkx/formats"
)

// Build arguments, as given with --build-arg.
const (
	ArgFormat      = "FORMAT"      // formats, separated by commas
	ArgName        = "NAME"        // base name of the files
	ArgCompression = "COMPRESSION" // of the initrd
	ArgSize        = "SIZE"        // least size of disks: bytes, or with K, M, G or T
	argEpoch       = "SOURCE_DATE_EPOCH"
	argCopies      = "LKX_NO_MERGE" // makes root file systems without merge ops, as old daemons must
)

// buildOptions are the build arguments that are ours.
var buildOptions = []string{ArgFormat, ArgName, ArgCompression, ArgSize, argEpoch, argCopies}

// TargetRootFS asks for the root file system itself: for --output type=tar,
// type=oci and type=image.
const TargetRootFS = "rootfs"

// options are what a request asks for.
type options struct {
	formats     []formats.Format
	rootfs      bool              // the root file system instead of formats
	file        string            // base name of the files, after the manifest's
	args        map[string]string // for the manifest
	spare       map[string]string // for us, unless the manifest wants them
	compression string
	size        int64 // bytes
	epoch       int64
	copies      bool
}

func parseOptions(bc *dockerui.Client) (options, error) {
	args := bc.BuildArgs
	o := options{
		file:        baseName(bc.BuildOpts().Opts["filename"]),
		compression: args[ArgCompression],
		copies:      args[argCopies] != "",
	}
	o.args, o.spare = sortArgs(args)
	if o.compression != "" && !slices.Contains(formats.Compressions, o.compression) {
		return options{}, fmt.Errorf("unknown compression %q; there are: %s", o.compression, strings.Join(formats.Compressions, ", "))
	}
	if name := args[ArgName]; strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return options{}, fmt.Errorf("%q cannot be the base name of files", name)
	}
	if v := args[argEpoch]; v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return options{}, fmt.Errorf("%s %q is not a number of seconds since 1970", argEpoch, v)
		}
		o.epoch = n
	}
	if v := args[ArgSize]; v != "" {
		n, err := formats.ParseSize(v)
		if err != nil {
			return options{}, fmt.Errorf("%s: %w", ArgSize, err)
		}
		o.size = n
	}
	names := args[ArgFormat]
	switch {
	case names != "" && bc.Target != "" && names != bc.Target:
		return options{}, fmt.Errorf("both a target (%s) and a format (%s) are given: give one, or a list in --build-arg %s", bc.Target, names, ArgFormat)
	case names == "":
		names = bc.Target
	}
	if names == TargetRootFS {
		o.rootfs = true
		return o, nil
	}
	var err error
	o.formats, err = formats.Lookup(names)
	return o, err
}

// sortArgs parts the manifest's arguments from ours, which it may also use, and
// leaves out those that clients add by themselves.
func sortArgs(args map[string]string) (own, spare map[string]string) {
	own, spare = map[string]string{}, map[string]string{}
	for name, value := range args {
		switch {
		case slices.Contains(buildOptions, name):
			spare[name] = value
		case strings.HasPrefix(name, "BUILDKIT_"), strings.HasSuffix(strings.ToLower(name), "_proxy"):
		default:
			own[name] = value
		}
	}
	return own, spare
}

// baseName is the manifest's name without its extension; "lkx" for one that
// came by standard input, which clients call Dockerfile.
func baseName(file string) string {
	base := path.Base(cmp.Or(file, dockerui.DefaultDockerfileName))
	if base == dockerui.DefaultDockerfileName {
		return "lkx"
	}
	return cmp.Or(strings.TrimSuffix(base, path.Ext(base)), "lkx")
}
