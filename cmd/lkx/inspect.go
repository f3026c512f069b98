package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/engine"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/plan"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "check MANIFEST",
		Short:             "Check a manifest without building it",
		Long:              "Check tells of every fault of a manifest at once, with its place, and of what is\nlegal but suspicious. It asks no registry. The exit code is 1 if there is a fault.",
		Example:           "  lkx check os.yml",
		Args:              exactly("manifest"),
		ValidArgsFunction: manifests,
		RunE: func(c *cobra.Command, args []string) error {
			file, err := readManifest(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			return printWarnings(c.ErrOrStderr(), file)
		},
	}
}

func planCommand() *cobra.Command {
	var f imageFlags
	var format string
	c := &cobra.Command{
		Use:   "plan [flags] MANIFEST",
		Short: "Show what a build would place where, images pinned by digest",
		Example: `  lkx plan os.yml
  lkx plan -o json os.yml | jq '.steps[].source'`,
		Args:              exactly("manifest"),
		ValidArgsFunction: manifests,
		RunE: func(c *cobra.Command, args []string) error {
			file, err := readManifest(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			s, err := f.open(nil)
			if err != nil {
				return err
			}
			l := &engine.Local{Images: s}
			p, err := l.Plan(c.Context(), engine.Request{File: file, Dir: filepath.Dir(args[0]), Platform: f.platform})
			if err != nil {
				return err
			}
			return printPlan(c.OutOrStdout(), p, format)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&format, "output", "o", "yaml", "`FORMAT`: yaml or json")
	return c
}

func printPlan(w io.Writer, p *plan.Plan, format string) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	switch format {
	case "json":
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	case "yaml":
		// Through JSON, so that both have the same keys in the same order.
		var n yaml.Node
		if err := yaml.Unmarshal(text, &n); err != nil {
			return err
		}
		block(&n)
		e := yaml.NewEncoder(w)
		e.SetIndent(2)
		return e.Encode(&n)
	}
	return usageError{fmt.Errorf("unknown format %q; there are: yaml, json", format)}
}

// block makes n read as people write YAML: one item a line, texts in lines.
func block(n *yaml.Node) {
	n.Style = 0
	if strings.Contains(n.Value, "\n") {
		n.Style = yaml.LiteralStyle
	}
	for _, c := range n.Content {
		block(c)
	}
}

func formatsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "formats",
		Short: "List what can be built",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 3, ' ', 0)
			fmt.Fprintln(t, "FORMAT\tFILES\tARCHES\tWHAT")
			for _, f := range formats.All {
				arches := "any"
				if f.Arches != nil {
					arches = strings.Join(f.Arches, ", ")
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Name, strings.Join(f.Files("NAME"), " "), arches, f.Doc)
			}
			return t.Flush()
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of lkx",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			version, revision := "devel", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = " " + s.Value
					}
				}
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "lkx %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
