package plan_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/internal/golden"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/plan"
)

// fakeImages resolves references from the golden file's images.json: image
// configs by reference.
type fakeImages map[string]json.RawMessage

func (f fakeImages) Resolve(_ context.Context, ref, _ string) (plan.Image, error) {
	conf, ok := f[ref]
	if !ok {
		return plan.Image{}, fmt.Errorf("%s: not found", ref)
	}
	return plan.Image{Ref: ref, Digest: "sha256:" + strings.Repeat("0", 60) + fmt.Sprintf("%04d", len(conf)), Config: conf}, nil
}

func (f fakeImages) Pin(_ context.Context, ref string) (plan.Image, error) {
	dgst, ok := f["pin "+ref]
	if !ok {
		return plan.Image{}, fmt.Errorf("%s: not found", ref)
	}
	return plan.Image{Ref: ref, Digest: strings.Trim(string(dgst), `"`)}, nil
}

func (f fakeImages) Manifest(_ context.Context, _ plan.Image, d ocispec.Descriptor) ([]byte, error) {
	doc, ok := f[d.Digest.String()]
	if !ok {
		return nil, fmt.Errorf("%s: not found", d.Digest)
	}
	return doc, nil
}

// fakeFiles is a build context with one file and one directory.
type fakeFiles struct{}

func (fakeFiles) Stat(_ context.Context, name string) (fs.FileMode, error) {
	switch name {
	case "file":
		return 0, nil
	case "dir":
		return fs.ModeDir, nil
	case "socket":
		return fs.ModeSocket, nil
	}
	return 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// TestNew holds whole plans, and what [plan.Plan.Text] shows of them. Specifications are in them as text.
func TestNew(t *testing.T) {
	golden.Each(t, "*.txtar", func(t *testing.T, in map[string]string) map[string]string {
		images := fakeImages{}
		if err := json.Unmarshal([]byte(in["images.json"]), &images); err != nil {
			t.Fatal(err)
		}
		make := func() string {
			m, err := manifest.Parse(manifest.Options{Platform: "linux/amd64"}, &source.File{Name: "in.yml", Data: []byte(in["in.yml"])})
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.New(t.Context(), m, plan.Options{Platform: "linux/amd64", Bootcode: images[plan.DefaultBootcode] != nil}, images, fakeFiles{})
			var list source.Errors
			if errors.As(err, &list) {
				var out strings.Builder
				source.Print(&out, list)
				return out.String()
			}
			if err != nil {
				t.Fatal(err)
			}
			return show(p)
		}
		first := make()
		for range 5 {
			if again := make(); again != first {
				t.Errorf("the same input gives another plan:\n%s\n%s", first, again)
			}
		}
		return map[string]string{"want": first}
	})
}

// show lists a plan, the contents of files below their names.
func show(p *plan.Plan) string {
	var out strings.Builder
	steps := p.Steps
	for _, s := range []*plan.Step{p.Code, p.Boot} {
		if s != nil {
			steps = append([]plan.Step{*s}, steps...)
		}
	}
	file := func(f plan.File) {
		fmt.Fprintf(&out, "  %s %o %d:%d", f.Path, f.Mode, f.UID, f.GID)
		for _, s := range []string{f.Link, f.Source} {
			if s != "" {
				out.WriteString(" <- " + s)
			}
		}
		if f.Deep != nil {
			fmt.Fprintf(&out, " with all below, own modes %v, else %o", f.Deep.OwnModes, f.Deep.FileMode)
		}
		if f.Blob != nil {
			from := f.Blob.URL
			if f.Blob.Image != nil {
				from = f.Blob.Image.Pinned()
			}
			fmt.Fprintf(&out, " <- %s (%d bytes) of %s", f.Blob.Digest, f.Blob.Size, from)
		}
		out.WriteString("\n")
		if f.Contents != "" {
			out.WriteString("    | " + strings.ReplaceAll(strings.TrimSuffix(f.Contents, "\n"), "\n", "\n    | ") + "\n")
		}
	}
	for _, s := range steps {
		fmt.Fprintf(&out, "%s (%s, line %d) from %s\n", s.Name, s.Title, s.Pos.Line, s.Source)
		for _, f := range s.Defaults {
			file(f)
		}
		for _, c := range s.Copies {
			fmt.Fprintf(&out, "  copy %s %q to %q unpack %v drop %d", c.Image.Ref, c.From, c.Dest, c.Unpack, len(c.Drop))
			if uid, gid := c.Owner(0, 0); uid != 0 || gid != 0 {
				fmt.Fprintf(&out, " root owned by %d:%d", uid, gid)
			}
			out.WriteString("\n")
		}
		for _, f := range s.Files {
			file(f)
		}
	}
	return out.String()
}
