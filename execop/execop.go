// Package execop is what runs inside BuildKit's exec ops: it makes a segment, a
// root file system or artifacts from images that are mounted beside it.
package execop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/internal/program"
	"github.com/lkx-os/lkx/plan"
	"github.com/lkx-os/lkx/tree"
)

// Run reads the work order and carries it out.
func Run(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(plan.JobDir, plan.JobFile))
	if err != nil {
		return fmt.Errorf("reading the work order: %w", err)
	}
	var j plan.Job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("reading the work order: %w", err)
	}
	leave, err := takeTurn(ctx, plan.TurnsDir, runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	defer leave()
	out, err := os.OpenRoot(plan.OutDir)
	if err != nil {
		return err
	}
	defer out.Close()
	images, blobs := assemble.Dirs{}, assemble.BlobFiles{}
	for i, img := range j.Images() {
		images[img.Pinned()] = plan.ImageDir(i)
	}
	for i, b := range j.Blobs() {
		blobs[b.Digest] = filepath.Join(plan.BlobDir(i), plan.BlobFile)
	}
	w := &worker{job: &j, out: out, sources: assemble.Sources{Images: images, Files: os.DirFS(plan.ContextDir), Blobs: blobs}}
	switch j.Make {
	case plan.JobSegment:
		return w.segment(ctx)
	case plan.JobRootFS:
		return w.rootfs(ctx)
	case plan.JobRootDirs:
		return w.rootdirs(ctx)
	case plan.JobDisk:
		return w.disk(ctx, fmt.Sprintf("%x", sha256.Sum256(text)))
	case plan.JobArtifacts:
		return w.artifacts(ctx)
	}
	return fmt.Errorf("unknown work %q: the program and its caller are of different versions", j.Make)
}

type worker struct {
	job     *plan.Job
	sources assemble.Sources
	out     *os.Root
}

func (w *worker) tree(ctx context.Context, steps ...plan.Step) (tree.Tree, error) {
	trees := make([]tree.Tree, len(steps))
	for i := range steps {
		t, err := assemble.Step(ctx, &steps[i], w.sources)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", steps[i].Title, err)
		}
		trees[i] = t
	}
	if len(trees) == 1 {
		return trees[0], nil
	}
	return tree.Merge(trees...)
}

func (w *worker) segment(ctx context.Context) error {
	t, err := w.tree(ctx, w.job.Steps...)
	if err != nil {
		return err
	}
	f, err := w.out.Create(plan.SegmentFile)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	if err := formats.Segment(buf, w.job.Steps[0].Name, t, w.job.Compression, w.job.Epoch); err != nil {
		f.Close()
		return err
	}
	if err := buf.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (w *worker) rootfs(ctx context.Context) error {
	t, err := w.tree(ctx, w.job.Steps...)
	if err != nil {
		return err
	}
	return tree.Extract(t, w.out, w.job.Epoch)
}

// disk makes a root file system for a disk, and keeps its blocks as those of job.
func (w *worker) disk(ctx context.Context, job string) error {
	t, err := w.tree(ctx, w.job.Steps...)
	if err != nil {
		return err
	}
	id, err := program.ID()
	if err != nil {
		return fmt.Errorf("reading this program: %w", err)
	}
	k := kept{plan.BlocksDir, id}
	known, err := k.blocks()
	if err != nil {
		return err
	}
	defer known.Close()
	f, err := w.out.Create(plan.DiskFile)
	if err != nil {
		return err
	}
	o := formats.RootOptions{Kind: w.job.Disk, Compression: w.job.Compression, Epoch: w.job.Epoch, Blocks: known}
	if err := formats.WriteRoot(f, t, o); err != nil {
		f.Close()
		return err
	}
	if n, all := known.Reused(); all > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d blocks were compressed before\n", n, all)
	}
	if err := k.keep(f, known, job); err != nil {
		fmt.Fprintln(os.Stderr, "lkx: warning:", err)
	}
	return f.Close()
}

// rootdirs makes the directories that some step needs without placing them. In
// the results of JobRootFS these had to be made up; merged last, this result
// puts them right.
func (w *worker) rootdirs(ctx context.Context) error {
	needed := map[string]bool{}
	var trees []tree.Tree
	for i := range w.job.Steps {
		t, err := w.tree(ctx, w.job.Steps[i])
		if err != nil {
			return err
		}
		trees = append(trees, t)
		for e, err := range t.All() {
			if err != nil {
				return err
			}
			for d := path.Dir(e.Path); d != "." && !needed[d]; d = path.Dir(d) {
				needed[d] = true
			}
		}
	}
	all, err := tree.Merge(trees...)
	if err != nil {
		return err
	}
	var dirs tree.Builder
	for e, err := range all.All() {
		if err != nil {
			return err
		}
		if needed[e.Path] && e.Type() == tree.TypeDir {
			if err := dirs.Put(e, nil); err != nil {
				return err
			}
		}
	}
	return tree.Extract(dirs.Tree(), w.out, w.job.Epoch)
}

func (w *worker) artifacts(ctx context.Context) error {
	in := formats.Input{Base: w.job.Base, Arch: w.job.Arch, Size: w.job.Size, Epoch: w.job.Epoch, Disk: w.job.Disk, Disks: map[string]*formats.RootDisk{}}
	var err error
	if w.job.Boot != nil {
		if in.Boot, err = w.tree(ctx, *w.job.Boot); err != nil {
			return err
		}
	}
	if w.job.Code != nil {
		if in.Code, err = w.tree(ctx, *w.job.Code); err != nil {
			return err
		}
	}
	if len(w.job.Steps) > 0 {
		if in.Root, err = w.tree(ctx, w.job.Steps...); err != nil {
			return err
		}
	}
	for i := range w.job.Segments {
		b, err := formats.FileBlob(filepath.Join(plan.SegmentDir(i), plan.SegmentFile))
		if err != nil {
			return err
		}
		in.Initrd = append(in.Initrd, b)
	}
	for _, kind := range w.job.Disks {
		name := filepath.Join(plan.DiskDir(kind), plan.DiskFile)
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if in.Disks[kind], err = formats.ReadRoot(name, info.Size()); err != nil {
			return err
		}
	}
	for _, name := range w.job.Formats {
		list, err := formats.Lookup(name)
		if err != nil {
			return err
		}
		for _, f := range list {
			if err := f.Make(ctx, in, w.out); err != nil {
				return err
			}
		}
	}
	return nil
}
