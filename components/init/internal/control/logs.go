package control

import (
	"context"
	"encoding/json"
	"io"
)

// own is the name of what lkx-services itself says.
const own = "lkx"

// logs sends what containers said.
func (s *Server) logs(ctx context.Context, w io.Writer, r *Request) {
	wanted, fault := s.wanted(r)
	if fault != nil {
		s.answer(w, fault)
		return
	}
	past, reader := s.Hub.Read(func(source string) bool { return wanted == nil || wanted[source] })
	defer s.Hub.Leave(reader)
	for len(past) > 0 && !past[0].Time.After(r.Since) {
		past = past[1:]
	}
	if r.Lines != nil && *r.Lines >= 0 && len(past) > *r.Lines {
		past = past[len(past)-*r.Lines:]
	}
	if !s.answer(w, &Reply{}) {
		return
	}
	out := json.NewEncoder(w)
	for _, e := range past {
		if out.Encode(e) != nil {
			return
		}
	}
	for r.Follow {
		select {
		case e := <-reader.C:
			if out.Encode(e) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// wanted are the logs that are asked for; nil for all.
func (s *Server) wanted(r *Request) (map[string]bool, *Reply) {
	if len(r.Names) == 0 {
		return nil, nil
	}
	out := map[string]bool{}
	for _, name := range r.Names {
		if name == own {
			out[own] = true
			continue
		}
		c, fault := s.find(name)
		if fault != nil {
			return nil, fault
		}
		for _, source := range sources(c, r.Stream) {
			out[source] = true
		}
	}
	return out, nil
}

// sources are the names of a container's logs: of one stream, "out" or "err", or
// of both. Those of onboot and onshutdown are not told apart.
func sources(c Container, stream string) []string {
	switch {
	case c.Kind == "system":
		return []string{c.Name}
	case c.Kind != "service":
		return []string{c.Kind + "." + c.Name}
	case stream == "out":
		return []string{c.Name + ".out"}
	case stream == "err":
		return []string{c.Name}
	}
	return []string{c.Name, c.Name + ".out"}
}
