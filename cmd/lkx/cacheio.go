package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/store"
)

func cacheExportCommand() *cobra.Command {
	var f tidyFlags
	var out, progress string
	var platforms []string
	c := &cobra.Command{
		Use:   "export [flags] NAME...",
		Short: "Write images of the store as an archive",
		Long: `Export writes a tar archive with an OCI image layout, which "lkx cache import",
"docker load", skopeo, crane and others read. It holds an image for all platforms
that the store has, or those of --platform. NAME is as for "lkx cache rm".`,
		Example: `  lkx cache export -o images.tar ghcr.io/lkx-os/init:0.1 ghcr.io/lkx-os/runc:0.1
  lkx cache export alpine:3.22 | ssh host docker load`,
		Args:              some("name"),
		ValidArgsFunction: f.complete,
		RunE: func(c *cobra.Command, args []string) error {
			if file, ok := c.OutOrStdout().(*os.File); ok && out == "-" && isTerminal(file) {
				return usageError{errors.New("an archive is nothing for a terminal; name a file with -o")}
			}
			show, err := newDisplay(c.ErrOrStderr(), progress)
			if err != nil {
				return err
			}
			defer show.close()
			return f.with(c, false, show.pull, func(s *store.Store) error {
				return hinted(writeTo(out, c.OutOrStdout(), func(w io.Writer) error {
					return s.Export(c.Context(), w, args, platforms)
				}))
			})
		},
	}
	f.storeFlags.add(c.Flags())
	c.Flags().StringVarP(&out, "output", "o", "-", "`FILE` to write; - is standard output")
	c.Flags().StringArrayVar(&platforms, "platform", nil, "`PLATFORM` to export the images for, such as linux/arm64 (repeatable; default: all there are)")
	addProgress(c.Flags(), &progress)
	return c
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// writeTo writes the file name, which appears when it is whole, or to stdout for "-".
func writeTo(name string, stdout io.Writer, write func(io.Writer) error) error {
	if name == "-" {
		return write(stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".lkx-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there when all went well
	if err = write(f); err == nil {
		err = f.Chmod(0o644)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func cacheImportCommand() *cobra.Command {
	var f tidyFlags
	var name, progress string
	c := &cobra.Command{
		Use:   "import [flags] FILE|DIR",
		Short: "Take images from an archive or a layout into the store",
		Long: `Import reads an OCI image layout, as a directory or as a tar archive (perhaps
compressed with gzip or zstd), or what "docker save" wrote; "-" is standard input.
All of it is verified, and either all images are there afterwards, or none.

"lkx build --offline" uses what was imported, without a registry.`,
		Example: `  lkx cache import images.tar
  docker save alpine:3.22 | lkx cache import -
  lkx cache import --name ghcr.io/me/app:1 ./layout`,
		Args: exactly("file"),
		RunE: func(c *cobra.Command, args []string) error {
			show, err := newDisplay(c.ErrOrStderr(), progress)
			if err != nil {
				return err
			}
			defer show.close()
			var images []store.ImageUsage
			err = f.with(c, false, show.pull, func(s *store.Store) (err error) {
				images, err = importFrom(c, s, args[0], name)
				return err
			})
			show.close()
			if err != nil {
				return fmt.Errorf("importing %s: %w", args[0], err)
			}
			for _, i := range images {
				fmt.Fprintf(c.OutOrStdout(), "imported %s %s for %s\n", imageName(i), short(i.Digest), strings.Join(i.Platforms, ", "))
			}
			return nil
		},
	}
	f.storeFlags.add(c.Flags())
	c.Flags().StringVar(&name, "name", "", "`NAME` for an image that has none")
	addProgress(c.Flags(), &progress)
	return c
}

func importFrom(c *cobra.Command, s *store.Store, from, name string) ([]store.ImageUsage, error) {
	if from == "-" {
		return s.ImportArchive(c.Context(), c.InOrStdin(), name)
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return s.ImportLayout(c.Context(), from, name)
	}
	file, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return s.ImportArchive(c.Context(), file, name)
}
