// Package llbgen writes a plan as LLB: a segment of the initrd for each step,
// each an exec op of its own with its image as a read-only mount, and one exec
// op that makes the artifacts from them.
package llbgen

import (
	"encoding/json"
	"path"
	"strings"
	"time"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/internal/source"
	"github.com/lkx-os/lkx/plan"
)

// Options is what a graph needs besides the plan.
type Options struct {
	Tool     llb.State                  // holds the program at plan.ToolPath
	Image    func(plan.Image) llb.State // the root file system of an image
	Blob     func(plan.Blob) llb.State  // holds a blob as plan.BlobFile
	Context  func([]string) llb.State   // the build context, at least these paths of it
	Platform ocispec.Platform           // of the builder, where the program runs
	// Source is the map of one of the manifest's texts, into which errors of an op point.
	Source  func(*source.File) *llb.SourceMap
	NoCache func(names ...string) bool // tells whether steps of these names are made anew
	Merge   bool                       // the daemon has merge ops

	Epoch       int64  // seconds since 1970
	Compression string // of segments
}

// Artifacts asks for files.
type Artifacts struct {
	Base                 string   // base name
	Arch                 string   // GOARCH of the system
	Size                 int64    // least size of a disk, in bytes
	Formats              []string // names
	Kernel, Initrd, Root bool     // what the formats are made from
	Disks                []string // types of root file systems for disks that they are made from, too
	Disk                 string   // type of the root that disks have; "" for none
}

// Export is the graph whose result holds the files of a, and nothing else.
func Export(p *plan.Plan, a Artifacts, o Options) llb.State {
	job := &plan.Job{Make: plan.JobArtifacts, Arch: a.Arch, Epoch: o.Epoch, Formats: a.Formats, Base: a.Base, Size: a.Size, Code: p.Code, Disks: a.Disks, Disk: a.Disk}
	if a.Kernel || a.Root {
		job.Boot = p.Boot
	}
	if a.Root {
		job.Steps = p.Steps
	}
	var extra []llb.RunOption
	if a.Initrd {
		job.Segments = len(p.Steps)
		for i := range p.Steps {
			extra = append(extra, o.mount(plan.SegmentDir(i), Segment(&p.Steps[i], o)))
		}
	}
	for _, kind := range a.Disks {
		extra = append(extra, o.mount(plan.DiskDir(kind), disk(p, kind, o)))
	}
	return o.exec(job, "make "+a.Base+": "+strings.Join(a.Formats, ", "), nil, extra...)
}

// disk is the graph whose result holds p's root file system as one of type kind,
// and the small initrd that finds it.
func disk(p *plan.Plan, kind string, o Options) llb.State {
	job := &plan.Job{Make: plan.JobDisk, Disk: kind, Epoch: o.Epoch, Compression: o.Compression, Steps: anonymized(p.Steps)}
	blocks := llb.AddMount(plan.BlocksDir, llb.Scratch(), llb.AsPersistentCacheDir("lkx-blocks", llb.CacheMountShared))
	return o.exec(job, "root file system: "+kind, nil, blocks)
}

// Segment is the graph whose result holds the segment of s.
func Segment(s *plan.Step, o Options) llb.State {
	job := &plan.Job{Make: plan.JobSegment, Epoch: o.Epoch, Compression: o.Compression, Steps: []plan.Step{anonymous(*s)}}
	return o.exec(job, "segment "+s.Title, s)
}

// RootFS is the graph of p's root file system, what boots it included. Each
// step is a vertex of its own, and they are merged. Daemons that cannot merge
// make it in one: copying steps over each other would hash all of their bytes.
func RootFS(p *plan.Plan, o Options) llb.State {
	steps := p.Steps
	if p.Boot != nil {
		steps = append([]plan.Step{*p.Boot}, steps...)
	}
	if !o.Merge {
		job := &plan.Job{Make: plan.JobRootFS, Epoch: o.Epoch, Steps: anonymized(steps)}
		return o.exec(job, "root file system", nil)
	}
	var parts []llb.State
	for i := range steps {
		job := &plan.Job{Make: plan.JobRootFS, Epoch: o.Epoch, Steps: []plan.Step{anonymous(steps[i])}}
		parts = append(parts, o.exec(job, "root file system: "+steps[i].Title, &steps[i]))
	}
	dirs := &plan.Job{Make: plan.JobRootDirs, Epoch: o.Epoch, Steps: anonymized(steps)}
	parts = append(parts, o.exec(dirs, "root file system: directories", nil))
	return llb.Merge(parts, llb.WithCustomName("merge the root file system"))
}

// anonymous is s without what only people read, so that a new title or a new
// place in the manifest does not change the work order.
func anonymous(s plan.Step) plan.Step {
	s.Title = ""
	return s
}

func anonymized(steps []plan.Step) []plan.Step {
	out := make([]plan.Step, len(steps))
	for i, s := range steps {
		out[i] = anonymous(s)
	}
	return out
}

// exec runs job, for step s if it is of one. Images and segments are keyed by
// what made them: hashing their bytes again would cost a pass over each.
func (o Options) exec(job *plan.Job, name string, s *plan.Step, extra ...llb.RunOption) llb.State {
	text, err := json.Marshal(job)
	if err != nil {
		panic(err) // plain data can always be encoded
	}
	epoch := time.Unix(o.Epoch, 0)
	order := llb.Scratch().File(
		llb.Mkfile(plan.JobFile, 0o644, text, llb.WithCreatedTime(epoch)),
		llb.WithCustomName("[internal] work order: "+name))
	opts := []llb.RunOption{
		llb.Args([]string{plan.ToolPath, plan.ToolArg}),
		llb.Dir("/"),
		llb.ReadonlyRootFS(),
		llb.Network(llb.NetModeNone),
		llb.WithCustomName(name),
		llb.Platform(o.Platform),
		llb.AddMount(plan.JobDir, order, llb.Readonly),
		llb.AddMount(plan.TurnsDir, llb.Scratch(), llb.AsPersistentCacheDir("lkx-turns", llb.CacheMountShared)),
	}
	for i, img := range job.Images() {
		opts = append(opts, o.mount(plan.ImageDir(i), o.Image(img)))
	}
	names := []string{"artifacts"}
	for i, b := range job.Blobs() {
		opts = append(opts, o.mount(plan.BlobDir(i), o.Blob(b)))
	}
	if s != nil {
		opts = append(opts, o.location(s))
		names = []string{s.Name, s.Title}
	}
	if paths := job.ContextPaths(); len(paths) > 0 {
		opts = append(opts, llb.AddMount(plan.ContextDir, o.Context(paths), llb.Readonly))
	}
	if o.NoCache != nil && o.NoCache(names...) {
		opts = append(opts, llb.IgnoreCache)
	}
	run := o.Tool.Run(append(opts, extra...)...)
	return run.AddMount(plan.OutDir, llb.Scratch())
}

// mount is a read-only mount whose bytes are not part of the cache key.
func (o Options) mount(dst string, st llb.State) llb.RunOption {
	return llb.AddMount(dst, st, llb.Readonly, llb.ContentCache(llb.MountContentCacheOff))
}

// location points errors of an op at the line that asked for it.
func (o Options) location(s *plan.Step) llb.ConstraintsOpt {
	if o.Source == nil || !s.Pos.IsValid() {
		return llb.WithDescription(nil)
	}
	at := &pb.Position{Line: int32(s.Pos.Line), Character: int32(s.Pos.Col)}
	return o.Source(s.Pos.File).Location([]*pb.Range{{Start: at, End: at}})
}

// Tool is the state with the program alone: an image's other files, its labels
// and its digest are no part of any cache key.
func Tool(image llb.State, name string, platform ocispec.Platform) llb.State {
	return llb.Scratch().File(
		llb.Copy(image, path.Join("/", name), plan.ToolPath, llb.WithCreatedTime(time.Unix(0, 0))),
		llb.WithCustomName("[internal] load lkx"), llb.Platform(platform))
}
