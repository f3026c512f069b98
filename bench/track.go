package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Engines, and what is measured beside them.
const (
	engineLocal    = "local"    // lkx build
	engineBuildKit = "buildkit" // docker buildx build with the frontend's image
	engineFloor    = "floor"    // what the machine allows
)

// States in which an artifact is built, in the order in which a track goes
// through them.
const (
	stateCold    = "cold"    // an empty store; the registry is on this machine
	stateWarm    = "warm"    // images are unpacked, nothing is built: another SOURCE_DATE_EPOCH
	stateService = "service" // one small service has another image
	stateCmdline = "cmdline" // the kernel has another command line
	stateNothing = "nothing" // nothing changed
)

// step is one state and how it is reached.
type step struct {
	state string
	epoch string // SOURCE_DATE_EPOCH
	change
}

var steps = []step{
	{stateCold, "1", change{}},
	{stateWarm, "2", change{}},
	{stateService, "2", change{service: true}},
	{stateCmdline, "2", change{service: true, cmdline: true}},
	{stateNothing, "2", change{service: true, cmdline: true}},
}

// Row says what is measured.
type Row struct {
	Workload string `json:"workload"`
	Format   string `json:"format"`
	Engine   string `json:"engine"`
	State    string `json:"state"`
}

// String is what filters are matched with.
func (r Row) String() string {
	return strings.Join([]string{r.Workload, r.Format, r.Engine, r.State}, "/")
}

// track is the states that one engine goes through with one system.
type track struct {
	work   *workload
	format string
	engine string
	states []string
}

// bench is one run of all.
type bench struct {
	lkx      string // the program
	dir      string // for all that is written
	arch     string
	registry *registry
	mirror   string  // address of registry
	daemon   *daemon // nil if no row needs it
	drop     bool    // empty the page cache before each cold run
	profile  string  // directory for profiles of local builds; "" for none

	rows    []Row
	samples map[Row][]Sample
	sums    map[Row]map[string]string // of the artifacts, in the first round
	kept    map[Row]bool              // whether the artifact was left alone
}

// record keeps a sample.
func (b *bench) record(r Row, s Sample) {
	if _, ok := b.samples[r]; !ok {
		b.rows = append(b.rows, r)
	}
	b.samples[r] = append(b.samples[r], s)
}

// run goes through the states of a track once, from nothing.
func (b *bench) run(ctx context.Context, t track) error {
	dir := filepath.Join(b.dir, "track")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "context"), 0o755); err != nil {
		return err
	}
	if t.engine == engineBuildKit {
		if err := b.daemon.fresh(ctx); err != nil {
			return err
		}
	}
	for _, s := range steps {
		if !slices.Contains(t.states, s.state) {
			continue
		}
		row := Row{t.work.Name, t.format, t.engine, s.state}
		sample, err := b.build(ctx, t, s, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
		b.record(row, sample)
		if err := b.compare(row, filepath.Join(dir, "out")); err != nil {
			return err
		}
		if s.state == stateNothing && t.engine == engineLocal {
			if err := b.hash(ctx, row, filepath.Join(dir, "out")); err != nil {
				return err
			}
		}
	}
	if t.engine != engineBuildKit {
		return nil
	}
	if err := b.plain(ctx, emptyBuild, filepath.Join(dir, "context")); err != nil || t.format != wantedFormats[0] {
		return err
	}
	return b.plain(ctx, Row{t.work.Name, t.format, t.engine, stateExport}, filepath.Join(dir, "out"))
}

// build makes one artifact, in dir/out.
func (b *bench) build(ctx context.Context, t track, s step, dir string) (Sample, error) {
	manifest, out := filepath.Join(dir, "context", "os.yml"), filepath.Join(dir, "out")
	if err := os.WriteFile(manifest, []byte(t.work.manifest(s.change)), 0o644); err != nil {
		return Sample{}, err
	}
	before := times(out)
	if err := b.settle(s.state == stateCold); err != nil {
		return Sample{}, err
	}
	env := []string{"SOURCE_DATE_EPOCH=" + s.epoch}
	var sample Sample
	var err error
	if t.engine == engineLocal {
		args := []string{
			b.lkx, "build", "--progress", "quiet", "-f", t.format, "-o", out,
			"--store", filepath.Join(dir, "store"), "--mirror", registryHost + "=http://" + b.mirror, manifest,
		}
		if b.profile != "" {
			args = append(args, "--profile", filepath.Join(b.profile, t.work.Name, t.format, s.state))
		}
		sample, err = measure(ctx, env, args...)
	} else {
		sample, err = b.daemon.measure(ctx, env, filepath.Join(b.daemon.bin, "buildx"), "build", "--progress", "quiet",
			"--build-arg", "FORMAT="+t.format, "--output", "type=local,dest="+out, "-f", manifest, filepath.Dir(manifest))
	}
	if s.state == stateNothing && err == nil {
		row := Row{t.work.Name, t.format, t.engine, s.state}
		after := times(out)
		b.kept[row] = len(before) > 0 && fmt.Sprint(before) == fmt.Sprint(after)
	}
	return sample, err
}

// settle waits until what was written before is on its disk, so that it does
// not cost the next run.
func (b *bench) settle(cold bool) error {
	syncDisks()
	if cold && b.drop {
		return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
	}
	return nil
}

// compare holds the artifacts of a row to those of the other engine. One round
// is enough: both make the same bytes every time.
func (b *bench) compare(row Row, out string) error {
	key := row
	key.Engine = ""
	if len(b.samples[row]) > 1 {
		return nil
	}
	names, err := files(out)
	if err != nil {
		return err
	}
	got := map[string]string{}
	for _, name := range names {
		if got[filepath.Base(name)], err = fileSum(name); err != nil {
			return err
		}
	}
	want, ok := b.sums[key]
	if !ok {
		b.sums[key] = got
		return nil
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: the two engines' files differ: %v and %v", row, got, want)
	}
	return nil
}

// hash measures how long it takes to hash the files of out.
func (b *bench) hash(ctx context.Context, row Row, out string) error {
	names, err := files(out)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := measure(ctx, nil, append([]string{self, digestArg}, names...)...)
	if err != nil {
		return err
	}
	row.Engine = engineFloor
	b.record(row, s)
	return nil
}

// floorOf measures the floor of a system in a format.
func (b *bench) floorOf(ctx context.Context, w *workload, format string) error {
	args, err := b.floorArgs(w, format)
	if err != nil {
		return err
	}
	out := filepath.Join(b.dir, "floor")
	defer os.RemoveAll(out)
	if err := b.settle(true); err != nil {
		return err
	}
	s, err := measure(ctx, nil, args...)
	if err != nil {
		return err
	}
	b.record(Row{w.Name, format, engineFloor, stateCold}, s)
	return nil
}

func (b *bench) floorArgs(w *workload, format string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, floorArg, floorKind(format), filepath.Join(b.dir, "floor")}
	for _, name := range w.images() {
		m, err := b.registry.manifest(name, b.arch)
		if err != nil {
			return nil, err
		}
		for _, l := range m.Layers {
			p, err := b.registry.find(l.Digest)
			if err != nil {
				return nil, fmt.Errorf("layer %s of %s: %w", l.Digest, name, err)
			}
			args = append(args, p)
		}
	}
	return args, nil
}

// floorKind is the kind of floor that a format has.
func floorKind(format string) string {
	if strings.HasSuffix(format, floorSquashfs) {
		return floorSquashfs
	}
	return floorInitrd
}

// emptyBuild is the row of an empty build, which is what the daemon costs by itself.
var emptyBuild = Row{"empty Dockerfile", "local", engineBuildKit, stateNothing}

// stateExport is a Dockerfile of which nothing has to be made, and whose files
// are those of an artifact: what it costs to hand them to the client.
const stateExport = "export"

// plain measures what a Dockerfile costs that copies the files of dir: the second
// build of it, for the first has to load them.
func (b *bench) plain(ctx context.Context, row Row, dir string) error {
	file, out := filepath.Join(b.dir, "track", "Dockerfile"), filepath.Join(b.dir, "track", "plain")
	if err := os.WriteFile(file, []byte("FROM scratch\nCOPY . /\n"), 0o644); err != nil {
		return err
	}
	var s Sample
	var err error
	for range 2 {
		syncDisks()
		s, err = b.daemon.measure(ctx, nil, filepath.Join(b.daemon.bin, "buildx"), "build", "--progress", "quiet",
			"-f", file, "--output", "type=local,dest="+out, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
	}
	b.record(row, s)
	return nil
}

// files are the paths of the files in dir.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		if e.Type() == fs.ModeDir {
			err = fmt.Errorf("%s was left in %s", e.Name(), dir)
		}
		out = append(out, filepath.Join(dir, e.Name()))
	}
	return out, err
}

// times are what changes when a file is written: for each of dir.
func times(dir string) []string {
	names, _ := files(dir) // there is none before the first build
	var out []string
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			out = append(out, fmt.Sprint(name, info.ModTime().UnixNano(), inode(info)))
		}
	}
	return out
}

// tracks are what is measured: the two systems that goals are set for, a real
// one, and whether cost grows linearly. all adds every other combination.
func tracks(list []*workload, formats []string, all bool) []track {
	everything := []string{stateCold, stateWarm, stateService, stateCmdline, stateNothing}
	var out []track
	for _, w := range list {
		for _, f := range formats {
			for _, e := range []string{engineLocal, engineBuildKit} {
				t := track{w, f, e, everything}
				many := w.Name == many60 || w.Name == many5
				if many && !all {
					t.states = everything[:2]
				}
				if all || w.Name == minimal || f == formats[0] && (!many || e == engineLocal) {
					out = append(out, t)
				}
			}
		}
	}
	return out
}
