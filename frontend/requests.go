package frontend

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/frontend/subrequests/outline"
	"github.com/moby/buildkit/frontend/subrequests/targets"
	"github.com/moby/buildkit/solver/pb"

	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/manifest"
)

// requests answer "docker buildx build --call=check|outline|targets".
func requests(src *dockerui.Source, o options) dockerui.RequestHandler {
	return dockerui.RequestHandler{
		Lint:        func(context.Context) (*lint.LintResults, error) { return check(src), nil },
		Outline:     func(context.Context) (*outline.Outline, error) { return describe(o), nil },
		ListTargets: func(context.Context) (*targets.List, error) { return list(), nil },
	}
}

// check is what is wrong with a manifest, and what is suspicious in it.
func check(src *dockerui.Source) *lint.LintResults {
	out := &lint.LintResults{Warnings: []lint.Warning{}}
	index := int32(out.AddSource(src.SourceMap))
	at := func(list source.Errors) *pb.Location {
		loc := &pb.Location{SourceIndex: index}
		for _, e := range list {
			loc.Ranges = append(loc.Ranges, rangeOf(e))
		}
		return loc
	}
	m, err := manifest.Parse(&source.File{Name: src.Filename, Data: src.Data})
	var faults source.Errors
	if errors.As(err, &faults) {
		var text strings.Builder
		source.Print(&text, faults)
		loc := at(faults)
		out.Error = &lint.BuildError{Message: text.String(), Location: pb.Location{SourceIndex: loc.SourceIndex, Ranges: loc.Ranges}}
		return out
	}
	for _, w := range m.Warnings {
		detail := w.Path + ": " + w.Msg
		if w.Hint != "" {
			detail += "; " + w.Hint
		}
		out.Warnings = append(out.Warnings, lint.Warning{
			RuleName: "Suspicious", Description: "legal, but perhaps not what was meant", Detail: detail, Location: at(source.Errors{w}),
		})
	}
	return out
}

// describe is what a build can be told.
func describe(o options) *outline.Outline {
	return &outline.Outline{Args: []outline.Arg{
		{Name: ArgFormat, Description: "what to make, separated by commas; --call=targets lists it", Value: formats.Default},
		{Name: ArgName, Description: "base name of the files", Value: o.base},
		{Name: ArgCompression, Description: "of the initrd: " + strings.Join(formats.Compressions, " or "), Value: formats.Compressions[0]},
		{Name: argEpoch, Description: "the time of every file, in seconds since 1970", Value: "0"},
	}}
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
