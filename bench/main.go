// Command bench measures what builds cost, beside what this machine allows, and
// holds it against the project's goals. "make bench" runs it; docs/benchmarks.md
// says what the rows are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program, or one of the things that it starts itself for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 1 {
		switch args[0] {
		case watchArg:
			return watch(args[1:], os.NewFile(3, "report"))
		case floorArg:
			return floor(ctx, args[1], args[2], args[3:])
		case digestArg:
			return digests(ctx, args[1:])
		}
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r, err := o.measure(ctx, stderr)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, r.markdown())
	if o.page == "" {
		return nil
	}
	return r.save(o.page)
}

// options of a run.
type options struct {
	bin, images, example, dir, page, profile string

	formats []string
	rounds  int
	limit   time.Duration
	rows    *regexp.Regexp
	scale   float64
	all     bool
	drop    bool
}

// wantedFormats are the formats that are measured, the first for every system.
var wantedFormats = []string{"kernel+initrd", "raw", "qcow2", "kernel+squashfs"}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{formats: wantedFormats}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.bin, "bin", ".build/bin", "`directory` with lkx, buildkitd, buildctl and buildx")
	f.StringVar(&o.images, "images", ".build/images", "OCI image `layout` with the project's images")
	f.StringVar(&o.example, "example", "examples/minimal.yml", "the real `manifest`")
	f.StringVar(&o.dir, "dir", ".build/bench", "`directory` for all that is written; 10 GiB should be free")
	f.StringVar(&o.page, "page", "", "put the tables into this `file`, between its marks, and JSON beside it")
	f.IntVar(&o.rounds, "runs", 5, "how often each row is run")
	f.DurationVar(&o.limit, "limit", 14*time.Minute, "begin no round that would last longer")
	rows := f.String("rows", "", "only rows that match the `expression`, and those that lead to them: \"node/.*/local\"; a row is SYSTEM/FORMAT/ENGINE/STATE")
	f.BoolVar(&o.all, "all", false, "all systems in all formats; without a limit that takes an hour")
	f.BoolVar(&o.drop, "drop-caches", false, "empty the page cache before each cold build; needs root")
	f.StringVar(&o.profile, "profile", "", "build every local row once more, with lkx build --profile, into this `directory`")
	quick := f.Bool("quick", false, "two runs, and kernel+initrd alone")
	smoke := f.Bool("smoke", false, "one run of tiny systems, to see that every row can be made")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	o.scale = 1
	if *quick {
		o.rounds, o.formats = 2, wantedFormats[:1]
	}
	if *smoke {
		o.rounds, o.scale = 1, 1./64
	}
	if o.rounds < 1 {
		return nil, errors.New("-runs has to be 1 or more")
	}
	var err error
	o.rows, err = regexp.Compile(*rows)
	return o, err
}

// measure runs all rounds.
func (o *options) measure(ctx context.Context, log io.Writer) (*Report, error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	load, machine, began := loadAverage(), thisMachine(o.dir), time.Now()
	if load > busy {
		fmt.Fprintf(log, "bench: the machine is busy (load average %.1f per processor): figures will be rough\n", load)
	}
	b, list, err := o.prepare(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	todo := o.tracks(list)
	if len(todo) == 0 {
		return nil, fmt.Errorf("no row matches %q", o.rows)
	}
	rounds := 0
	for ; rounds < o.rounds; rounds++ {
		start := time.Now()
		if err := b.round(ctx, todo, log); err != nil {
			return nil, err
		}
		slices.Reverse(todo)
		fmt.Fprintf(log, "bench: round %d took %.0f s\n", rounds+1, time.Since(start).Seconds())
		if time.Since(began)+time.Since(start) > o.limit {
			rounds++
			break
		}
	}
	b.close()
	r := b.report(machine, load, began, rounds, o.rounds, list)
	if o.profile == "" {
		return r, nil
	}
	return r, b.profileAll(ctx, todo, o.profile)
}

// profileAll goes once more through the local tracks, for profiles; these runs
// count for nothing else.
func (b *bench) profileAll(ctx context.Context, todo []track, dir string) error {
	b.profile, b.samples = dir, map[Row][]Sample{}
	for _, t := range todo {
		if t.engine == engineLocal {
			if err := b.run(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// tracks are those of which a row is wanted, up to the last state wanted.
func (o *options) tracks(list []*workload) []track {
	var out []track
	for _, t := range tracks(list, o.formats, o.all) {
		last := 0
		for i, state := range t.states {
			if o.rows.MatchString(Row{t.work.Name, t.format, t.engine, state}.String()) {
				last = i + 1
			}
		}
		if t.states = t.states[:last]; last > 0 {
			out = append(out, t)
		}
	}
	return out
}

// prepare makes the images and the registry, and a daemon if a row needs it.
func (o *options) prepare(ctx context.Context, log io.Writer) (*bench, []*workload, error) {
	for _, p := range []*string{&o.bin, &o.images, &o.dir, &o.profile} {
		if *p == "" {
			continue
		}
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return nil, nil, err
		}
	}
	example, err := readExample(o.example)
	if err != nil {
		return nil, nil, err
	}
	list, images := workloads(o.scale, example)
	made := filepath.Join(o.dir, fmt.Sprintf("images-%g", o.scale))
	fmt.Fprintln(log, "bench: making images")
	if err := makeImages(ctx, made, images); err != nil {
		return nil, nil, err
	}
	b := &bench{
		lkx: filepath.Join(o.bin, "lkx"), dir: o.dir, arch: runtime.GOARCH, drop: o.drop,
		samples: map[Row][]Sample{}, sums: map[Row]map[string]string{}, kept: map[Row]bool{},
	}
	if b.registry, err = newRegistry(made, o.images); err != nil {
		return nil, nil, err
	}
	if b.mirror, err = b.registry.start(); err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(o.tracks(list), func(t track) bool { return t.engine == engineBuildKit }) {
		b.daemon, err = newDaemon(o.bin, filepath.Join(o.dir, "buildkit"), b.mirror)
	}
	return b, list, err
}

// close ends the daemon and removes what it kept.
func (b *bench) close() {
	if b.daemon != nil {
		_ = b.daemon.stop()
		_ = os.RemoveAll(b.daemon.root())
	}
}

// round runs every track once, each system's floor beside its tracks.
func (b *bench) round(ctx context.Context, todo []track, log io.Writer) error {
	floors := map[string]bool{}
	for _, t := range todo {
		start := time.Now()
		if floor := t.work.Name + " " + floorKind(t.format); !floors[floor] {
			floors[floor] = true
			if err := b.floorOf(ctx, t.work, t.format); err != nil {
				return fmt.Errorf("the floor of %s: %w", t.work.Name, err)
			}
		}
		if err := b.run(ctx, t); err != nil {
			return err
		}
		fmt.Fprintf(log, "bench: %s %s %s: %.1f s\n", t.work.Name, t.format, t.engine, time.Since(start).Seconds())
	}
	return nil
}

// syncDisks waits until all that was written is on its disk.
func syncDisks() { unix.Sync() }
