package frontend

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"

	"github.com/lkx-os/lkx/internal/source"
)

// located gives the complaints about a manifest the form that BuildKit's
// clients draw: the texts with their carets, and the lines they are about.
func (s *sources) located(err error) error {
	var list source.Errors
	if !errors.As(err, &list) {
		return err
	}
	var text strings.Builder
	source.Print(&text, list)
	err = errors.New(strings.TrimSuffix(text.String(), "\n"))
	for len(list) > 0 {
		f := list[0].Pos.File
		var ranges []*pb.Range
		var rest source.Errors
		for _, e := range list {
			if e.Pos.File == f {
				ranges = append(ranges, rangeOf(e))
			} else {
				rest = append(rest, e)
			}
		}
		if f != nil {
			err = errdefs.WithSource(err, &errdefs.Source{Info: info(s.sourceMap(f)), Ranges: ranges})
		}
		list = rest
	}
	return err
}

func info(m *llb.SourceMap) *pb.SourceInfo {
	out := &pb.SourceInfo{Filename: m.Filename, Data: m.Data, Language: m.Language}
	if m.Definition != nil {
		out.Definition = m.Definition.ToPB()
	}
	return out
}

// rangeOf is the place of e. Lines and columns count from 1, as BuildKit's do
// for lines; of columns it says nothing.
func rangeOf(e *source.Error) *pb.Range {
	at := func(col int) *pb.Position {
		return &pb.Position{Line: int32(e.Pos.Line), Character: int32(col)}
	}
	return &pb.Range{Start: at(e.Pos.Col), End: at(e.Pos.Col + max(e.Len, 1))}
}

// warnFlat tells the client of disks that are mostly zeros: BuildKit's local
// exporter writes them out, and sends them over the wire.
func (s *sources) warnFlat(ctx context.Context) {
	src := s.maps[s.main]
	if src == nil || src.Warn == nil || s.options.size < largeDisk {
		return
	}
	for _, f := range s.options.formats {
		if f.Flat {
			text := fmt.Sprintf("%s of %d MiB: what is free on the disk is written out as zeros; qcow2, vhdx, vmdk and dynamic-vhd are as large as their content",
				f.Name, s.options.size>>20)
			src.Warn(ctx, text, client.WarnOpts{Level: 1})
		}
	}
}

// largeDisk is from where on it is worth a word, in bytes.
const largeDisk = 1 << 30

// warn tells the client of what is legal but suspicious.
func (s *sources) warn(ctx context.Context, list source.Errors) {
	for _, e := range list {
		src := s.maps[e.Pos.File]
		if src == nil || src.Warn == nil {
			continue
		}
		o := client.WarnOpts{Level: 1, Range: []*pb.Range{rangeOf(e)}}
		if e.Hint != "" {
			o.Detail = [][]byte{[]byte(e.Hint)}
		}
		src.Warn(ctx, e.Error(), o)
	}
}
