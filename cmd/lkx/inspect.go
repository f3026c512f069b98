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
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/lkx-os/lkx/engine"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
)

func checkCommand() *cobra.Command {
	var f manifestFlags
	var format string
	c := &cobra.Command{
		Use:   "check [flags] MANIFEST...",
		Short: "Check a manifest without building it",
		Long: `Check tells of every fault of a manifest at once, with its place, and of what is
legal but suspicious. It asks no registry. The exit code is 1 if there is a fault.`,
		Example: `  lkx check os.yml
  lkx check --arg VERSION=1.2 --platform linux/arm64 base.yml site.yml
  lkx check --format sarif os.yml > os.sarif    # for code scanning in CI`,
		Args:              some("manifest"),
		ValidArgsFunction: manifests,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := f.request(c.Context(), args, c.InOrStdin())
			if err != nil {
				return err
			}
			return check(c.OutOrStdout(), c.ErrOrStderr(), r, format)
		},
	}
	f.add(c)
	c.Flags().StringVar(&format, "format", "text", "how findings are printed: text (standard error), json or sarif (standard output)")
	return c
}

// check prints what is to be said of the manifest of r.
func check(stdout, stderr io.Writer, r engine.Request, format string) error {
	write := map[string]func(io.Writer, source.Errors) error{"json": source.WriteJSON, "sarif": source.WriteSARIF}[format]
	if write == nil && format != "text" {
		return usageError{fmt.Errorf("unknown format %q; there are: text, json, sarif", format)}
	}
	m, err := r.Manifest()
	if write == nil {
		source.Print(stderr, asWarnings(m.Warnings))
		return err
	}
	found := m.Warnings
	if err != nil && !errors.As(err, &found) {
		return err
	}
	if err := write(stdout, found); err != nil {
		return fmt.Errorf("printing what was found: %w", err)
	}
	if err != nil {
		return errSaid
	}
	return nil
}

// errSaid is an error that has been printed.
var errSaid = errors.New("said already")

func planCommand() *cobra.Command {
	var f imageFlags
	var format string
	c := &cobra.Command{
		Use:   "plan [flags] MANIFEST...",
		Short: "Show what a build would place where, images pinned by digest",
		Example: `  lkx plan os.yml
  lkx plan -o json os.yml | jq '.steps[].source'
  lkx plan -o json os.yml > released.json       # later: lkx diff released.json os.yml`,
		Args:              some("manifest"),
		ValidArgsFunction: manifests,
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "yaml"}, format) {
				return usageError{fmt.Errorf("unknown format %q; there are: text, json, yaml", format)}
			}
			p, err := f.plan(c.Context(), args, c.InOrStdin())
			if err != nil {
				return err
			}
			return printPlan(c.OutOrStdout(), p, format)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&format, "output", "o", "text", "`FORMAT`: text, json or yaml")
	return c
}

// plan pins the manifests of those names.
func (f *imageFlags) plan(ctx context.Context, names []string, stdin io.Reader) (*plan.Plan, error) {
	r, err := f.request(ctx, names, stdin)
	if err != nil {
		return nil, err
	}
	s, err := f.open(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return (&engine.Local{Images: s}).Plan(ctx, r)
}

func printPlan(w io.Writer, p *plan.Plan, format string) error {
	if format == "text" {
		_, err := io.WriteString(w, p.Text())
		return err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if format == "json" {
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	}
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

func diffCommand() *cobra.Command {
	var f imageFlags
	var format string
	var exitCode bool
	c := &cobra.Command{
		Use:   "diff [flags] OLD NEW",
		Short: "Show what changes in the built system between two manifests",
		Long: `Diff compares two systems before they are built: their images by digest, what
their containers run and may do, their files. OLD and NEW are manifests, or plans
that "lkx plan -o json" printed. Of files that come from the building machine it
compares the names, not the contents.`,
		Example: `  lkx diff old.yml new.yml
  lkx diff --exit-code released.json os.yml     # in CI: 1 if anything changed`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("diff wants two manifests: lkx %s", c.Use)}
			}
			return nil
		},
		ValidArgsFunction: manifests,
		RunE: func(c *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return usageError{fmt.Errorf("unknown format %q; there are: text, json", format)}
			}
			var plans [2]*plan.Plan
			for i, name := range args {
				p, err := f.planOf(c.Context(), name, c.InOrStdin())
				if err != nil {
					return err
				}
				plans[i] = p
			}
			changes := plan.Diff(plans[0], plans[1])
			if err := printChanges(c.OutOrStdout(), changes, format); err != nil {
				return err
			}
			if exitCode && len(changes) > 0 {
				return errSaid
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVarP(&format, "output", "o", "text", "`FORMAT`: text or json")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 if anything changes")
	return c
}

// planOf is the plan of a manifest, or one that was printed.
func (f *imageFlags) planOf(ctx context.Context, name string, stdin io.Reader) (*plan.Plan, error) {
	if filepath.Ext(name) != ".json" {
		return f.plan(ctx, []string{name}, stdin)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	var p plan.Plan
	if err := json.Unmarshal(text, &p); err != nil || p.Steps == nil {
		return nil, fmt.Errorf("%s is not a plan as \"lkx plan -o json\" prints it (%v)", name, err)
	}
	return &p, nil
}

func printChanges(w io.Writer, changes []plan.Change, format string) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Changes []plan.Change `json:"changes"`
		}{append([]plan.Change{}, changes...)})
	}
	part := ""
	for _, c := range changes {
		if c.Part != part {
			part = c.Part
			if _, err := fmt.Fprintln(w, part); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w, "  "+c.String()); err != nil {
			return err
		}
	}
	return nil
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of manifests",
		Long: `Schema prints the JSON Schema of manifests, for editors and other programs. An
editor with yaml-language-server reads it where a manifest says so on line 2:

  # yaml-language-server: $schema=https://github.com/lkx-os/lkx/raw/main/manifest/schema.json`,
		Example: `  lkx schema > lkx.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(manifest.Schema)
			return err
		},
	}
}

func formatsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "formats",
		Short: "List what can be built",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 3, ' ', 0)
			fmt.Fprintln(t, "FORMAT\tFILES\tARCHES\tBOOTS WITH\tMADE OF\tWHAT")
			for _, f := range formats.All {
				arches := "any"
				if f.Arches != nil {
					arches = strings.Join(f.Arches, ", ")
				}
				files := strings.Join(f.Files("NAME"), " ")
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%v\t%s\n", f.Name, files, arches, cmp.Or(f.Boots, "-"), f.Needs, f.Doc)
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
