package frontend

import (
	"context"
	"errors"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/frontend/subrequests/outline"
	"github.com/moby/buildkit/frontend/subrequests/targets"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
)

// requests answer "docker buildx build --call=check|outline|targets".
func (b *build) requests() dockerui.RequestHandler {
	return dockerui.RequestHandler{
		Lint:        func(ctx context.Context) (*lint.LintResults, error) { return b.check(ctx), nil },
		Outline:     b.outline,
		ListTargets: func(context.Context) (*targets.List, error) { return list(), nil },
	}
}

// check is what is wrong with a manifest, and what is suspicious in it.
func (b *build) check(ctx context.Context) *lint.LintResults {
	out := &lint.LintResults{Warnings: []lint.Warning{}}
	m, err := b.src.manifest(ctx, platforms.Format(b.target()))
	var faults source.Errors
	if errors.As(err, &faults) {
		var text strings.Builder
		source.Print(&text, faults)
		index := int32(out.AddSource(b.src.sourceMap(faults[0].Pos.File)))
		out.Error = &lint.BuildError{Message: text.String(), Location: pb.Location{SourceIndex: index}}
		for _, e := range faults {
			if e.Pos.File == faults[0].Pos.File {
				out.Error.Location.Ranges = append(out.Error.Location.Ranges, rangeOf(e))
			}
		}
		return out
	}
	for _, w := range m.Warnings {
		detail := w.Path + ": " + w.Msg
		if w.Hint != "" {
			detail += "; " + w.Hint
		}
		out.Warnings = append(out.Warnings, lint.Warning{
			RuleName: w.Rule, Description: "legal, but perhaps not what was meant", Detail: detail,
			Location: &pb.Location{SourceIndex: int32(out.AddSource(b.src.sourceMap(w.Pos.File))), Ranges: []*pb.Range{rangeOf(w)}},
		})
	}
	return out
}

// target is the platform that is built for, the first if there are several.
func (b *build) target() ocispec.Platform {
	if len(b.bc.TargetPlatforms) > 0 {
		return platforms.Normalize(b.bc.TargetPlatforms[0])
	}
	return b.builder()
}

// outline is what a build can be told: our options, and the manifest's arguments.
func (b *build) outline(ctx context.Context) (*outline.Outline, error) {
	o := b.options
	out := &outline.Outline{Args: []outline.Arg{
		{Name: ArgFormat, Description: "what to make, separated by commas; --call=targets lists it", Value: formats.Default},
		{Name: ArgName, Description: "base name of the files", Value: o.file},
		{Name: ArgCompression, Description: "of the initrd: " + strings.Join(formats.Compressions, " or "), Value: formats.Compressions[0]},
		{Name: argEpoch, Description: "the time of every file, in seconds since 1970", Value: "0"},
	}}
	// Arguments that must be given are not, when only asking for them.
	m, err := b.src.manifest(ctx, platforms.Format(b.target()))
	if err != nil && (m == nil || len(m.Args) == 0) {
		return nil, b.src.located(err)
	}
	for _, a := range m.Args {
		doc := a.Doc
		if a.Required {
			doc = strings.TrimSpace(doc + " (must be given)")
		}
		out.Args = append(out.Args, outline.Arg{Name: a.Name, Description: doc, Value: a.Value, Location: &pb.Location{
			Ranges: []*pb.Range{{Start: &pb.Position{Line: int32(a.Pos.Line)}, End: &pb.Position{Line: int32(a.Pos.Line)}}},
		}})
	}
	return out, nil
}

// list is what --target can name.
func list() *targets.List {
	out := &targets.List{}
	for _, f := range formats.All {
		out.Targets = append(out.Targets, targets.Target{Name: f.Name, Description: f.Doc, Default: f.Name == formats.Default})
	}
	out.Targets = append(out.Targets, targets.Target{
		Name: TargetRootFS, Description: "the root file system itself, for --output type=tar, oci or image",
	})
	return out
}
