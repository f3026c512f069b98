// Command sizes writes how large the component images are into the table of
// docs/components.md, from an OCI layout with all of them:
//
//	sizes LAYOUT PAGE
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// architectures are the columns of the table.
var architectures = []string{"amd64", "arm64"}

// Lines around the table.
const (
	begin = "<!-- sizes: written by make sizes -->\n"
	end   = "<!-- end of sizes -->\n"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("want LAYOUT PAGE")
	}
	list, err := images(args[0])
	if err != nil {
		return err
	}
	page, err := os.ReadFile(args[1])
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	out, err := replace(string(page), table(list))
	if err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	if err := os.WriteFile(args[1], []byte(out), 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// image is what is pulled of one.
type image struct {
	name  string
	sizes map[string]int64 // bytes of its layers, as they are compressed, by architecture
}

// images are those of a layout (image-spec, image-layout.md), in the order of
// their names. Each must be there for all architectures.
func images(layout string) ([]image, error) {
	var index ocispec.Index
	if err := read(filepath.Join(layout, "index.json"), &index); err != nil {
		return nil, fmt.Errorf("reading the images: %w", err)
	}
	var out []image
	for _, d := range index.Manifests {
		i := image{name: d.Annotations[ocispec.AnnotationRefName], sizes: map[string]int64{}}
		var platforms ocispec.Index
		if err := read(blob(layout, d), &platforms); err != nil {
			return nil, fmt.Errorf("image %s: %w", i.name, err)
		}
		for _, p := range platforms.Manifests {
			if p.Platform == nil || !slices.Contains(architectures, p.Platform.Architecture) {
				continue // what tells of an image is listed beside it
			}
			var m ocispec.Manifest
			if err := read(blob(layout, p), &m); err != nil {
				return nil, fmt.Errorf("image %s: %w", i.name, err)
			}
			for _, l := range m.Layers {
				i.sizes[p.Platform.Architecture] += l.Size
			}
		}
		if len(i.sizes) != len(architectures) {
			return nil, fmt.Errorf("image %s is not there for all of %s; build it: hack/images.sh %s", i.name, strings.Join(architectures, ", "), i.name)
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b image) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func blob(layout string, d ocispec.Descriptor) string {
	return filepath.Join(layout, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

func read(name string, to any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

// table is the images as a table, sizes in MB (10⁶ bytes).
func table(list []image) string {
	var b strings.Builder
	b.WriteString("| image | " + strings.Join(architectures, " | ") + " |\n|---|" + strings.Repeat("---:|", len(architectures)) + "\n")
	for _, i := range list {
		b.WriteString("| `" + i.name + "` |")
		for _, arch := range architectures {
			fmt.Fprintf(&b, " %.1f MB |", float64(i.sizes[arch])/1e6)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// replace puts the table between its lines in the page.
func replace(page, table string) (string, error) {
	before, rest, ok1 := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("no table: no lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + table + "\n" + end + after, nil
}
