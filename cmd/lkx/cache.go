package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/store"
)

func cacheCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "Look at the images that local builds keep, and tidy them up",
		Long: `Local builds keep images in a store, with their layers unpacked, so that the next
build fetches and unpacks only what is new. Nothing in it is precious: what is
removed is made or fetched again when a build needs it. While builds run, what
removes things waits for them.`,
		Example: `  lkx cache ls
  lkx cache prune --keep-size 5G
  lkx cache export -o images.tar ghcr.io/lkx-os/init:0.1
  lkx cache import images.tar`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q of cache", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(cacheListCommand(), cachePruneCommand(), cacheRemoveCommand(), cacheExportCommand(), cacheImportCommand(), cacheVerifyCommand())
	return c
}

// storeFlags say where the image store is.
type storeFlags struct{ store string }

func (f *storeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.store, "store", "", "keep images in `DIR` (default $LKX_STORE, or lkx/images in the user's cache directory)")
}

// open opens the image store. Waiting is told if others keep us out of it; nil
// says so on standard error.
func (f *storeFlags) open(ctx context.Context, waiting func(string), o store.Options) (*store.Store, error) {
	dir := cmp.Or(f.store, os.Getenv("LKX_STORE"))
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place for images: %w; name one with --store", err)
		}
		dir = filepath.Join(cache, "lkx", "images")
	}
	if waiting == nil {
		waiting = func(what string) { fmt.Fprintln(os.Stderr, "lkx: "+what) }
	}
	o.Waiting = func() {
		if o.Alone {
			waiting("waiting for builds that use the image store " + dir)
		} else {
			waiting("waiting for another lkx to tidy up the image store " + dir)
		}
	}
	s, err := store.Open(ctx, dir, o)
	switch {
	case errors.Is(err, store.ErrBusy):
		return nil, fmt.Errorf("%w; without --no-wait it is waited for", err)
	case err != nil && f.store == "" && errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w; name another place with --store", err)
	}
	return s, err
}

// tidyFlags are those of commands that remove things from the store.
type tidyFlags struct {
	storeFlags
	noWait bool
}

func (f *tidyFlags) add(flags *pflag.FlagSet) {
	f.storeFlags.add(flags)
	flags.BoolVar(&f.noWait, "no-wait", false, "give up if builds use the store, instead of waiting for them")
}

// with has do work on the store: alone, if things are to be removed from it.
func (f *tidyFlags) with(c *cobra.Command, alone bool, progress func(store.Event), do func(*store.Store) error) error {
	s, err := f.open(c.Context(), nil, store.Options{Offline: true, Alone: alone, NoWait: f.noWait && alone, Progress: progress})
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// complete completes names of images in the store.
func (f *tidyFlags) complete(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	err := f.with(c, false, nil, func(s *store.Store) error {
		u, err := s.Usage(c.Context())
		if err != nil {
			return err
		}
		for _, i := range u.Images {
			out = append(out, imageName(i))
		}
		return nil
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func cacheListCommand() *cobra.Command {
	var f tidyFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the images in the store, and what takes how much room",
		Long: `Ls lists the images that the store has whole, and the platforms it has of each.
SIZE is what an image takes, its layers compressed and unpacked; UNIQUE is what
of that would be free without it. Below are the sums: blobs are what came from
registries and URLs, layers are unpacked, derived is what was made of them,
partial are downloads that a later build goes on with.`,
		Example: `  lkx cache ls
  lkx cache ls --json | jq .size`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, false, nil, func(s *store.Store) error {
				u, err := s.Usage(c.Context())
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(c.OutOrStdout(), u)
				}
				return printUsage(c.OutOrStdout(), u, time.Now())
			})
		},
	}
	f.storeFlags.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with sizes in bytes")
	return c
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func printUsage(w io.Writer, u *store.Usage, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "IMAGE\tDIGEST\tPLATFORMS\tSIZE\tUNIQUE\tLAST USED")
	for _, i := range u.Images {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", imageName(i), short(i.Digest), cmp.Or(strings.Join(i.Platforms, ","), "-"),
			human(i.Size), human(i.Unique), ago(now.Sub(i.LastUsed)))
	}
	fmt.Fprintln(t)
	for _, k := range store.Kinds {
		fmt.Fprintf(t, "%s\t%d files\t\t%s\n", k, u.Kinds[k].Files, human(u.Kinds[k].Size))
	}
	fmt.Fprintf(t, "all\t\t\t%s\n", human(u.Size))
	return t.Flush()
}

func imageName(i store.ImageUsage) string {
	return cmp.Or(store.Familiar(i.Name), "<none>")
}

// short is enough of a digest to know it by, and for "lkx cache rm".
func short(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }

// human is a number of bytes as people read it.
func human(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/(1<<10), []string{"KiB", "MiB", "GiB", "TiB"}
	for f >= 1<<10 && len(units) > 1 {
		f, units = f/(1<<10), units[1:]
	}
	return fmt.Sprintf("%.1f %s", f, units[0])
}

// ago is how long something is past.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func cachePruneCommand() *cobra.Command {
	var f tidyFlags
	var p store.Policy
	var older time.Duration
	var keep string
	var asJSON bool
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove what is of no use from the store",
		Long: `Prune removes, by itself, what no image in the store needs: blobs and layers of
images whose names mean something else by now, files that URLs gave, downloads
that broke off, what killed builds left. With --older or --keep-size it removes
what was of use longest ago, images too; with --all, everything.

Prune waits for builds that use the store. Builds that begin meanwhile wait for it.`,
		Example: `  lkx cache prune
  lkx cache prune --older 168h --keep-size 5G
  lkx cache prune --all --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if keep != "" {
				n, err := formats.ParseSize(keep)
				if err != nil {
					return usageError{fmt.Errorf("--keep-size: %w", err)}
				}
				p.Size = n
			}
			if older < 0 || c.Flags().Changed("older") && older == 0 {
				return usageError{fmt.Errorf("--older: %s is not a time that is past; write 168h", older)}
			}
			if older > 0 {
				p.Before = time.Now().Add(-older)
			}
			return f.with(c, !p.DryRun, nil, func(s *store.Store) error {
				r, err := s.Prune(c.Context(), p)
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(c.OutOrStdout(), r)
				}
				return printRemoved(c.OutOrStdout(), r, p.DryRun)
			})
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&keep, "keep-size", "", "remove what was of use longest ago, until the store is of `SIZE`, such as 5G")
	c.Flags().DurationVar(&older, "older", 0, "remove what was of no use for `TIME`, such as 168h")
	c.Flags().BoolVar(&p.All, "all", false, "remove everything")
	c.Flags().BoolVar(&p.DryRun, "dry-run", false, "tell what would be removed, and remove nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with sizes in bytes")
	return c
}

func printRemoved(w io.Writer, r *store.Removed, dry bool) error {
	verb, free := "removed", "free now"
	if dry {
		verb, free = "would remove", "would be free"
	}
	var out strings.Builder
	for _, i := range r.Images {
		fmt.Fprintf(&out, "%s image %s %s\n", verb, imageName(i), short(i.Digest))
	}
	for _, k := range store.Kinds {
		if n := r.Kinds[k]; n.Files > 0 {
			fmt.Fprintf(&out, "%s %s: %d files, %s\n", verb, k, n.Files, human(n.Size))
		}
	}
	fmt.Fprintf(&out, "%s %s, %s left\n", human(r.Size), free, human(r.Left))
	_, err := io.WriteString(w, out.String())
	return err
}

func cacheRemoveCommand() *cobra.Command {
	var f tidyFlags
	c := &cobra.Command{
		Use:   "rm [flags] NAME...",
		Short: "Remove images from the store",
		Long: `Rm removes images, and what no other image needs. NAME is an image's name, or
its digest, or the beginning of that as "lkx cache ls" prints it.`,
		Example: `  lkx cache rm alpine:3.22
  lkx cache rm sha256:4bcff63911fc`,
		Args:              some("name"),
		ValidArgsFunction: f.complete,
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, true, nil, func(s *store.Store) error {
				r, err := s.Remove(c.Context(), args...)
				if err != nil {
					return hinted(err)
				}
				return printRemoved(c.OutOrStdout(), r, false)
			})
		},
	}
	f.add(c.Flags())
	return c
}

// hinted adds a hint to the error of an image that there is not.
func hinted(err error) error {
	var unknown *store.UnknownImageError
	if !errors.As(err, &unknown) {
		return err
	}
	var known []string
	for _, n := range unknown.Known {
		known = append(known, store.Familiar(n))
		if strings.Contains(n, unknown.Name) {
			return fmt.Errorf("%w; did you mean %q?", err, store.Familiar(n))
		}
	}
	if hint := source.Nearest(unknown.Name, known); hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return fmt.Errorf("%w; \"lkx cache ls\" lists them", err)
}

func cacheVerifyCommand() *cobra.Command {
	var f tidyFlags
	var progress string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Read everything in the store, and remove what is not what it should be",
		Long: `Verify compares all files in the store with their digests, tells which are wrong,
and removes them: the next build that needs one gets it anew. Then it exits with 1.`,
		Example: `  lkx cache verify --no-wait`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			show, err := newDisplay(c.ErrOrStderr(), progress)
			if err != nil {
				return err
			}
			defer show.close()
			var v *store.Verified
			verify := func(repair bool) error {
				return f.with(c, repair, show.pull, func(s *store.Store) (err error) {
					v, err = s.Verify(c.Context(), repair)
					return err
				})
			}
			// Builds may go on meanwhile, unless there is something to remove.
			if err = verify(false); err == nil && len(v.Faults) > 0 {
				err = verify(true)
			}
			show.close()
			if err != nil {
				return err
			}
			for _, fault := range v.Faults {
				fmt.Fprintln(c.OutOrStdout(), "removed", fault)
			}
			fmt.Fprintf(c.OutOrStdout(), "%d files, %s: %d wrong\n", v.Files, human(v.Size), len(v.Faults))
			if len(v.Faults) > 0 {
				return errSaid
			}
			return nil
		},
	}
	f.add(c.Flags())
	addProgress(c.Flags(), &progress)
	return c
}

// defaultCacheSize is the size that builds keep the store at.
const defaultCacheSize = "20G"

// cacheLimit is the size in bytes that the store is kept at; 0 is none.
func cacheLimit(flag string) (int64, error) {
	size, from := flag, "--cache-size"
	if size == "" {
		size, from = cmp.Or(os.Getenv("LKX_CACHE_SIZE"), defaultCacheSize), "LKX_CACHE_SIZE"
	}
	if size == "0" {
		return 0, nil
	}
	n, err := formats.ParseSize(size)
	if err != nil {
		return 0, usageError{fmt.Errorf("%s: %w", from, err)}
	}
	return n, nil
}

// trim keeps the store at its size. The build it comes after went well: what
// goes wrong here is worth a warning, and other builds are not waited for.
func (f *storeFlags) trim(ctx context.Context, limit int64, stderr io.Writer) {
	s, err := f.open(ctx, nil, store.Options{Offline: true, Alone: true, NoWait: true})
	if err == nil {
		_, err = s.Prune(ctx, store.Policy{Size: limit})
		err = errors.Join(err, s.Close())
	}
	if err != nil && !errors.Is(err, store.ErrBusy) && !store.IsReadOnly(err) {
		fmt.Fprintln(stderr, "lkx: warning: the image store could not be kept at its size:", err)
	}
}
