package frontend

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"

	"github.com/lkx-os/lkx/internal/source"
)

// located gives the complaints about a manifest the form that BuildKit's
// clients draw: the text with its carets, and the lines it is about.
func located(err error, m *llb.SourceMap) error {
	var list source.Errors
	if !errors.As(err, &list) {
		return err
	}
	var text strings.Builder
	source.Print(&text, list)
	src := &errdefs.Source{Info: &pb.SourceInfo{Filename: m.Filename, Data: m.Data, Language: m.Language, Definition: m.Definition.ToPB()}}
	for _, e := range list {
		src.Ranges = append(src.Ranges, rangeOf(e))
	}
	return errdefs.WithSource(errors.New(strings.TrimSuffix(text.String(), "\n")), src)
}

// rangeOf is the place of e. Lines and columns count from 1, as BuildKit's do
// for lines; of columns it says nothing.
func rangeOf(e *source.Error) *pb.Range {
	at := func(col int) *pb.Position {
		return &pb.Position{Line: int32(e.Pos.Line), Character: int32(col)}
	}
	return &pb.Range{Start: at(e.Pos.Col), End: at(e.Pos.Col + max(e.Len, 1))}
}

// warn tells the client of what is legal but suspicious.
func warn(ctx context.Context, src *dockerui.Source, list source.Errors) {
	for _, e := range list {
		o := client.WarnOpts{Level: 1, Range: []*pb.Range{rangeOf(e)}}
		if e.Hint != "" {
			o.Detail = [][]byte{[]byte(e.Hint)}
		}
		src.Warn(ctx, e.Error(), o)
	}
}
