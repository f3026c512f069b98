package engine

import (
	"errors"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/plan"
)

// reporter tells of progress in BuildKit's terms, so that one display serves
// both engines. Its methods may be called side by side.
type reporter struct{ to func(*client.SolveStatus) }

// vertex runs do, and reports its beginning and end.
func (r *reporter) vertex(name string, do func() error) error {
	if r.to == nil {
		return do()
	}
	start := time.Now()
	v := client.Vertex{Digest: digest.FromString(name), Name: name, Started: &start}
	first := v
	r.to(&client.SolveStatus{Vertexes: []*client.Vertex{&first}})
	err := do()
	end := time.Now()
	v.Completed = &end
	if err != nil {
		v.Error = err.Error()
	}
	r.to(&client.SolveStatus{Vertexes: []*client.Vertex{&v}})
	return err
}

// cached reports what was there already.
func (r *reporter) cached(name string) {
	if r.to == nil {
		return
	}
	now := time.Now()
	v := client.Vertex{Digest: digest.FromString(name), Name: name, Started: &now, Completed: &now, Cached: true}
	r.to(&client.SolveStatus{Vertexes: []*client.Vertex{&v}})
}

// at says which line of the manifest asked for step s, which failed.
func (b *local) at(s *plan.Step, err error) error {
	var list source.Errors
	if err == nil || !s.Pos.IsValid() || errors.As(err, &list) {
		return err
	}
	e := &source.Error{Pos: s.Pos, Path: s.Name, Msg: err.Error(), Err: err}
	if f := new(assemble.FileError); errors.As(err, &f) && f.File.Pos.IsValid() {
		e.Pos, e.Path = f.File.Pos, f.File.Location
	}
	return source.Errors{e}
}

// arch is the GOARCH of a platform such as "linux/arm64/v8".
func arch(platform string) string {
	parts := strings.SplitN(platform, "/", 3)
	if len(parts) < 2 {
		return platform
	}
	return parts[1]
}
