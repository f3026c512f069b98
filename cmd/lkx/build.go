package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lkx-os/lkx/engine"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/program"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/store"
)

// buildFlags are the options of "lkx build".
type buildFlags struct {
	imageFlags
	format      string
	out         string
	name        string
	builder     string
	compression string
	size        string
	progress    string
	cacheSize   string
	profile     string
}

// imageFlags say which manifest is meant, and where its images come from.
type imageFlags struct {
	manifestFlags
	storeFlags
	layouts []string
	mirrors []string
	offline bool
}

func (f *imageFlags) add(c *cobra.Command) {
	f.manifestFlags.add(c)
	c.Flags().StringArrayVar(&f.layouts, "layout", nil, "search this OCI image layout `DIR` before any registry (repeatable)")
	c.Flags().StringArrayVar(&f.mirrors, "mirror", nil, "ask `[REGISTRY=]URL` before REGISTRY, which is docker.io when it is left out (repeatable)")
	c.Flags().BoolVar(&f.offline, "offline", false, "ask no registry: use the images that the store has")
	f.storeFlags.add(c.Flags())
}

func buildCommand() *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build [flags] MANIFEST...",
		Short: "Build what a manifest describes",
		Long: `Build makes bootable artifacts from a manifest. It needs no daemon, no other
program and no rights: images are pulled into a store of its own, and the
artifacts are written here. With --builder, a BuildKit does the same work and
gives the same bytes.

MANIFEST is a file, a URL, or "-" for standard input; each is merged over those
before it. SOURCE_DATE_EPOCH, in the environment, is the time of every file in
the artifacts; the default is 0.`,
		Example: `  lkx build os.yml                          # os-kernel, os-initrd.img, os-cmdline
  lkx build -f tar -o out os.yml            # out/os.tar
  lkx build -f qcow2,uki --size 4G os.yml   # os.qcow2 of 4 GiB, os.efi
  lkx build --platform linux/arm64 os.yml
  lkx build --arg VERSION=1.2 os.yml        # ${VERSION} in the manifest is 1.2
  lkx build base.yml site.yml               # site.yml merged over base.yml
  lkx build --layout ./images os.yml        # images from a directory, not a registry
  lkx build --builder docker os.yml         # by the builder of "docker buildx"
  lkx build --profile prof os.yml           # prof/cpu.pprof, prof/heap.pprof, prof/trace.out`,
		Args:              some("manifest"),
		ValidArgsFunction: manifests,
		RunE: func(c *cobra.Command, args []string) error {
			return profiled(f.profile, func() error {
				return f.build(c.Context(), args, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
			})
		},
	}
	f.add(c)
	c.Flags().StringVarP(&f.format, "format", "f", formats.Default, "`FORMATS` to make, separated by commas; see \"lkx formats\"")
	c.Flags().StringVarP(&f.out, "output", "o", ".", "`DIR` for the files")
	c.Flags().StringVar(&f.name, "name", "", "base `NAME` of the files (default: that of the manifest)")
	c.Flags().StringVar(&f.builder, "builder", localBuilder, "who builds: local, docker, or the `ADDRESS` of a BuildKit")
	c.Flags().StringVar(&f.compression, "compression", formats.Compressions[0], "how the initrd is compressed: "+strings.Join(formats.Compressions, " or "))
	c.Flags().StringVar(&f.size, "size", "", "least `SIZE` of disks, such as 4G (default: as large as their content)")
	addProgress(c.Flags(), &f.progress)
	c.Flags().StringVar(&f.cacheSize, "cache-size", "", "afterwards remove from the store what was of use longest ago, until it is of `SIZE`; 0 for never (default $LKX_CACHE_SIZE, or "+defaultCacheSize+")")
	c.Flags().StringVar(&f.profile, "profile", "", "write a CPU and a heap profile and a trace of the build into `DIR`, to be sent with a report of a slow one")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats.Names(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (f *buildFlags) build(ctx context.Context, manifests []string, stdin io.Reader, stdout, stderr io.Writer) error {
	req, err := f.request(ctx, manifests, stdin)
	if err != nil {
		return err
	}
	m, err := req.Manifest()
	if err != nil {
		return err
	}
	source.Print(stderr, asWarnings(m.Warnings))
	limit, err := cacheLimit(f.cacheSize)
	if err != nil {
		return err
	}
	show, err := newDisplay(stderr, f.progress)
	if err != nil {
		return err
	}
	defer show.close()
	req.Status = show.send
	names, err := f.make(ctx, req, show)
	if err != nil {
		return err
	}
	show.close()
	for _, n := range names {
		fmt.Fprintln(stdout, filepath.Join(f.out, n))
	}
	if f.builder == localBuilder && limit > 0 {
		f.trim(ctx, limit, stderr)
	}
	return nil
}

// make has the chosen builder build, and names the files.
func (f *buildFlags) make(ctx context.Context, req engine.Request, show *display) ([]string, error) {
	if f.builder != localBuilder {
		e, err := f.buildKit()
		if err != nil {
			return nil, err
		}
		return e.Build(ctx, req)
	}
	s, err := f.open(ctx, show.pull, show.wait)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	id, err := program.ID()
	if err != nil {
		return nil, fmt.Errorf("reading this program: %w", err)
	}
	return (&engine.Local{Images: s, Cache: s, Program: id}).Build(ctx, req)
}

// localBuilder is the builder that is this program.
const localBuilder = "local"

// request reads the manifests and checks the options.
func (f *buildFlags) request(ctx context.Context, manifests []string, stdin io.Reader) (engine.Request, error) {
	list, err := formats.Lookup(f.format)
	if err != nil {
		return engine.Request{}, usageError{err}
	}
	if !slices.Contains(formats.Compressions, f.compression) {
		return engine.Request{}, usageError{fmt.Errorf("unknown compression %q; there are: %s", f.compression, strings.Join(formats.Compressions, ", "))}
	}
	r, err := f.imageFlags.request(ctx, manifests, stdin)
	if err != nil {
		return r, err
	}
	r.Formats, r.Out, r.Compression = list, f.out, f.compression
	if f.size != "" {
		if r.Size, err = formats.ParseSize(f.size); err != nil {
			return r, usageError{fmt.Errorf("--size: %w", err)}
		}
	}
	r.Base = cmp.Or(f.name, baseName(manifests[len(manifests)-1]))
	if strings.ContainsAny(r.Base, "/\x00") || r.Base == "." || r.Base == ".." {
		return r, usageError{fmt.Errorf("%q cannot be the base name of files", r.Base)}
	}
	if v := os.Getenv("SOURCE_DATE_EPOCH"); v != "" {
		if r.Epoch, err = strconv.ParseInt(v, 10, 64); err != nil || r.Epoch < 0 {
			return r, usageError{fmt.Errorf("SOURCE_DATE_EPOCH %q is not a number of seconds since 1970", v)}
		}
	}
	return r, nil
}

// buildKit is the builder that --builder names.
func (f *buildFlags) buildKit() (engine.Engine, error) {
	if len(f.layouts) > 0 || len(f.mirrors) > 0 || f.offline {
		return nil, usageError{errors.New("--layout, --mirror and --offline are for local builds: a BuildKit has its own configuration")}
	}
	tool, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	if runtime.GOOS != "linux" {
		tool = ""
	}
	return &engine.BuildKit{Addr: f.builder, Tool: tool}, nil
}

// open opens the image store. Waiting is told if others keep us out of it.
func (f *imageFlags) open(ctx context.Context, progress func(store.Event), waiting func(string)) (*store.Store, error) {
	mirrors := map[string][]string{}
	for _, m := range f.mirrors {
		host, url, ok := strings.Cut(m, "=")
		if !ok {
			host, url = "docker.io", m
		}
		mirrors[host] = append(mirrors[host], url)
	}
	return f.storeFlags.open(ctx, waiting, store.Options{Layouts: f.layouts, Mirrors: mirrors, Offline: f.offline, Progress: progress})
}

// asWarnings is list with each marked as a warning.
func asWarnings(list source.Errors) source.Errors {
	var out source.Errors
	for _, e := range list {
		w := *e
		w.Msg = "warning: " + e.Msg
		out = append(out, &w)
	}
	return out
}
