package llbgen_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/llbgen"
	"github.com/lkx-os/lkx/plan"
)

func image(name string) plan.Image {
	return plan.Image{Ref: "reg/" + name + ":1", Digest: digest.FromString(name).String()}
}

func thePlan(service string) *plan.Plan {
	file := &source.File{Name: "os.yml", Data: []byte("a\nb\nc\nd\n")}
	boot := plan.Step{Name: "kernel", Title: "kernel", Copies: []plan.Copy{{Image: image("kernel"), From: "kernel", Dest: plan.KernelPath}}}
	return &plan.Plan{Platform: "linux/arm64", Boot: &boot, Steps: []plan.Step{
		{Name: "layout", Title: "layout", Defaults: []plan.File{{Path: "etc", Mode: 0o40755}}},
		{Name: "kernel", Title: "kernel modules", Copies: []plan.Copy{{Image: image("kernel"), From: "kernel.tar", Unpack: true}}},
		{Name: "services[0]", Title: "services/a", Copies: []plan.Copy{{Image: image(service), Dest: "x"}}, Pos: source.Pos{File: file, Line: 3, Col: 2}},
		{Name: "files", Title: "files", Files: []plan.File{{Path: "etc/a", Mode: 0o100644, Source: "a.txt"}}},
	}}
}

var builder = ocispec.Platform{OS: "linux", Architecture: "amd64"}

func options() llbgen.Options {
	return llbgen.Options{
		Tool: llbgen.Tool(llb.Image("frontend"), "/lkx-frontend", builder),
		Image: func(i plan.Image) llb.State {
			return llb.Image(i.Pinned(), llb.Platform(ocispec.Platform{OS: "linux", Architecture: "arm64"}))
		},
		Context: func(paths []string) llb.State {
			return llb.Local("context", llb.FollowPaths(paths), llb.LocalUniqueID("x"))
		},
		Platform: builder,
		Source: func(*source.File) *llb.SourceMap {
			return llb.NewSourceMap(nil, "os.yml", "YAML", []byte("a\nb\nc\nd\n"))
		},
		Merge: true,
	}
}

// op is one operation of a graph, by its name, or what it gets from where.
type op struct {
	pb     *pb.Op
	digest digest.Digest
	lines  []int32 // of the manifest
	fresh  bool    // made without the cache
}

func ops(t *testing.T, st llb.State) map[string]op {
	t.Helper()
	def, err := st.Marshal(context.Background(), llb.Platform(builder))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]op{}
	for _, raw := range def.Def {
		var p pb.Op
		if err := p.UnmarshalVT(raw); err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(raw)
		o := op{pb: &p, digest: d, fresh: def.Metadata[d].IgnoreCache}
		for _, l := range def.Source.Locations[d.String()].GetLocations() {
			for _, r := range l.Ranges {
				o.lines = append(o.lines, r.Start.Line)
			}
		}
		out[cmp.Or(def.Metadata[d].Description["llb.customname"], p.GetSource().GetIdentifier())] = o
	}
	return out
}

var artifacts = llbgen.Artifacts{Base: "os", Arch: "arm64", Formats: []string{"kernel+initrd"}, Kernel: true, Initrd: true}

// TestExport looks at the graph of kernel+initrd: an exec op for each step and
// one for the files, all alike.
func TestExport(t *testing.T) {
	got := ops(t, llbgen.Export(thePlan("app"), artifacts, options()))
	var execs []string
	for name, o := range got {
		e := o.pb.GetExec()
		if e == nil {
			continue
		}
		execs = append(execs, name)
		if e.Network != pb.NetMode_NONE || strings.Join(e.Meta.Args, " ") != "/lkx exec-op" || o.pb.Platform.Architecture != "amd64" {
			t.Errorf("%s runs %v on %s, network %s", name, e.Meta.Args, o.pb.Platform.Architecture, e.Network)
		}
		turns := slices.ContainsFunc(e.Mounts, func(m *pb.Mount) bool {
			return m.Dest == plan.TurnsDir && m.CacheOpt.GetSharing() == pb.CacheSharingOpt_SHARED && m.CacheOpt.GetID() == "lkx-turns"
		})
		if !turns {
			t.Errorf("%s does not take turns with the others", name)
		}
		for _, m := range e.Mounts {
			source := strings.HasPrefix(m.Dest, "/images/") || strings.HasPrefix(m.Dest, "/segments/")
			if m.Dest != plan.OutDir && m.Dest != plan.TurnsDir && !m.Readonly || source && m.ContentCache != pb.MountContentCache_OFF {
				t.Errorf("%s: mount %s is read-only %v, hashed %s", name, m.Dest, m.Readonly, m.ContentCache)
			}
		}
	}
	slices.Sort(execs)
	want := []string{"make os: kernel+initrd", "segment files", "segment kernel modules", "segment layout", "segment services/a"}
	if !slices.Equal(execs, want) {
		t.Errorf("exec ops %q, want %q", execs, want)
	}
	if n := len(got["make os: kernel+initrd"].pb.GetExec().Mounts); n != 1+1+1+1+1+4 {
		t.Errorf("the last has %d mounts, want root, work order, turns, kernel, out and 4 segments", n)
	}
	if lines := got["segment services/a"].lines; len(lines) != 1 || lines[0] != 3 {
		t.Errorf("the service's segment points at lines %v, want 3", lines)
	}
}

// TestChange builds another service: only its own segment and what is made of
// it are other operations.
func TestChange(t *testing.T) {
	digests := func(p *plan.Plan) map[string]digest.Digest {
		out := map[string]digest.Digest{}
		for name, o := range ops(t, llbgen.Export(p, artifacts, options())) {
			out[name] = o.digest
		}
		return out
	}
	a, again, b := digests(thePlan("app")), digests(thePlan("app")), digests(thePlan("other"))
	renamed := thePlan("app")
	renamed.Steps[2].Pos.Line = 1
	var changed []string
	for name, d := range a {
		if again[name] != d {
			t.Errorf("%s differs in a second graph of the same plan", name)
		}
		if strings.HasPrefix(name, "segment") || strings.HasPrefix(name, "make") {
			if b[name] != d {
				changed = append(changed, name)
			}
		}
	}
	slices.Sort(changed)
	if want := []string{"make os: kernel+initrd", "segment services/a"}; !slices.Equal(changed, want) {
		t.Errorf("changed: %q, want %q", changed, want)
	}
	for name, d := range digests(renamed) {
		if a[name] != d {
			t.Errorf("%s depends on where the manifest has it", name)
		}
	}
}

func TestNoCache(t *testing.T) {
	o := options()
	o.NoCache = func(names ...string) bool { return slices.Contains(names, "services/a") }
	for name, op := range ops(t, llbgen.Export(thePlan("app"), artifacts, o)) {
		if op.fresh != (name == "segment services/a") {
			t.Errorf("%s is made without the cache: %v", name, op.fresh)
		}
	}
}

// TestRootFS merges, or makes all in one where the daemon cannot merge.
func TestRootFS(t *testing.T) {
	for _, merge := range []bool{true, false} {
		o := options()
		o.Merge = merge
		merged, execs := 0, 0
		for _, op := range ops(t, llbgen.RootFS(thePlan("app"), o)) {
			if m := op.pb.GetMerge(); m != nil {
				merged += len(m.Inputs)
			}
			if op.pb.GetExec() != nil {
				execs++
			}
		}
		if merge && (merged != 6 || execs != 6) || !merge && (merged != 0 || execs != 1) {
			t.Errorf("merge %v: %d merged, of %d exec ops", merge, merged, execs)
		}
	}
}

// graphs are all kinds of graphs there are.
func graphs(p *plan.Plan, o llbgen.Options) map[string]llb.State {
	all := artifacts
	all.Root, all.Disks = true, []string{"squashfs", "erofs"}
	unmerged := o
	unmerged.Merge = false
	return map[string]llb.State{
		"artifacts": llbgen.Export(p, all, o), "root file system": llbgen.RootFS(p, o), "in one": llbgen.RootFS(p, unmerged),
	}
}

// TestNoHashing pins what BuildKit hashes for its cache keys: the program, work
// orders and what users wrote. Images, segments and root file systems, which can
// be of any size, are keyed by what made them; a file op that copies hashes what
// it copies, and so does a mount that does not say otherwise.
func TestNoHashing(t *testing.T) {
	for name, graph := range graphs(thePlan("app"), options()) {
		for title, op := range ops(t, graph) {
			for _, a := range op.pb.GetFile().GetActions() {
				switch {
				case a.GetMkfile() != nil:
				case a.GetCopy() != nil && title == "[internal] load lkx":
				default:
					t.Errorf("%s: %s hashes what it copies", name, title)
				}
			}
			for _, m := range op.pb.GetExec().GetMounts() {
				hashed := m.Input >= 0 && m.ContentCache != pb.MountContentCache_OFF
				if small := slices.Contains([]string{"/", plan.JobDir, plan.ContextDir, plan.OutDir}, m.Dest); hashed && !small {
					t.Errorf("%s: %s hashes what is mounted at %s", name, title, m.Dest)
				}
			}
		}
	}
}

// TestFrontendImage keeps the frontend's image out of all ops but the one that
// takes the program from it: that is keyed by the program's bytes, and so all
// others are the same whatever else is in the image.
func TestFrontendImage(t *testing.T) {
	for name, graph := range graphs(thePlan("app"), options()) {
		all := ops(t, graph)
		var image string
		for _, op := range all {
			if s := op.pb.GetSource(); s != nil && strings.Contains(s.Identifier, "library/frontend") {
				image = op.digest.String()
			}
		}
		users := map[string]bool{}
		for title, op := range all {
			for _, in := range op.pb.Inputs {
				if in.Digest == image {
					users[title] = true
				}
			}
		}
		if image == "" || len(users) != 1 || !users["[internal] load lkx"] {
			t.Errorf("%s: the frontend's image %s is used by %v", name, image, users)
		}
	}
}

// TestWorkOrder keeps what only people read out of cache keys.
func TestWorkOrder(t *testing.T) {
	for name, o := range ops(t, llbgen.Export(thePlan("app"), artifacts, options())) {
		f := o.pb.GetFile()
		if f == nil || !strings.Contains(name, "segment services/a") {
			continue
		}
		var job plan.Job
		if err := json.Unmarshal(f.Actions[0].GetMkfile().Data, &job); err != nil {
			t.Fatal(err)
		}
		if job.Make != plan.JobSegment || len(job.Steps) != 1 || job.Steps[0].Title != "" || job.Formats != nil {
			t.Errorf("the work order is %+v", job)
		}
		return
	}
	t.Error("no work order")
}
