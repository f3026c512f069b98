package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/lkx-os/lkx/exporters/squashfs"
	"github.com/lkx-os/lkx/formats"
	"github.com/lkx-os/lkx/tree"
)

func TestContents(t *testing.T) {
	for name, c := range map[string]struct {
		fill        fill
		least, most float64 // how much smaller zstd makes it
	}{
		"program": {program, 2, 4}, "text": {text, 3, 6}, "packed": {packed, 0.9, 1.01},
	} {
		var a, b bytes.Buffer
		for _, w := range []*bytes.Buffer{&a, &b} {
			if err := newMaker(7).write(w, c.fill, 4<<20); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: the same seed gives other bytes", name)
		}
		var other bytes.Buffer
		if err := newMaker(8).write(&other, c.fill, 4<<20); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a.Bytes(), other.Bytes()) {
			t.Errorf("%s: another seed gives the same bytes", name)
		}
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		if ratio := 4 << 20 / float64(len(z.EncodeAll(a.Bytes(), nil))); ratio < c.least || ratio > c.most {
			t.Errorf("%s: zstd makes it %.2f times smaller, want %.1f to %.1f", name, ratio, c.least, c.most)
		}
	}
}

// TestImages makes the smallest set of images, twice, and reads one over HTTP.
func TestImages(t *testing.T) {
	list, images := workloads(0, "")
	images = images[:6]
	var digests [2][]byte
	dir := t.TempDir()
	for i := range digests {
		dir := filepath.Join(dir, "layout")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := makeImages(t.Context(), dir, images); err != nil {
			t.Fatal(err)
		}
		var err error
		if digests[i], err = os.ReadFile(filepath.Join(dir, "index.json")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(digests[0], digests[1]) {
		t.Errorf("the same images have other digests:\n%s\n%s", digests[0], digests[1])
	}
	r, err := newRegistry(filepath.Join(dir, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	small := list[0].services[len(list[0].services)-1]
	m, err := r.manifest(small, "any")
	if err != nil {
		t.Fatal(err)
	}
	repo := strings.TrimSuffix(strings.TrimPrefix(small, registryHost+"/"), ":1")
	for _, c := range []struct {
		path string
		code int
	}{
		{"", 200},
		{repo + "/manifests/1", 200},
		{repo + "/manifests/9", 404},
		{repo + "/blobs/" + m.Layers[0].Digest.String(), 200},
		{repo + "/blobs/sha256:" + strings.Repeat("0", 64), 404},
	} {
		res, err := http.Get("http://" + addr + "/v2/" + c.path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.code {
			t.Errorf("%s: status %d, want %d", c.path, res.StatusCode, c.code)
		}
	}
}

// TestLinear holds many60 to the same parts as many5.
func TestLinear(t *testing.T) {
	list, images := workloads(1, "")
	parts := func(name string) []part {
		var out []part
		for _, w := range list {
			for _, img := range images {
				if w.Name == name && slices.Contains(w.services, img.Name) {
					for _, l := range img.Layers {
						out = append(out, l.Parts...)
					}
				}
			}
		}
		return out
	}
	a, b := parts(many60), parts(many5)
	if len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%d parts in %s, other %d in %s", len(a), many60, len(b), many5)
	}
	for _, w := range list {
		if n := len(w.images()); map[string]int{minimal: 5, node: 20, many60: 60, many5: 5}[w.Name] != n && w.Name != examples {
			t.Errorf("%s has %d images", w.Name, n)
		}
	}
}

func TestManifest(t *testing.T) {
	text, err := readExample("../examples/minimal.yml")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := workloads(1, text)
	for _, w := range list {
		base := w.manifest(change{})
		for _, c := range []change{{service: true}, {cmdline: true}} {
			// The systems for linearity have no service that changes.
			if w.manifest(c) == base && (c.cmdline || w.Name != many60 && w.Name != many5) {
				t.Errorf("%s is the same with %+v", w.Name, c)
			}
		}
		if len(w.images()) == 0 || w.images()[0] != kernelImage {
			t.Errorf("%s: its images are %q", w.Name, w.images())
		}
	}
}

// TestFloorCompresses holds the floor's compressors to those of the project: they
// make about as much of the same.
func TestFloorCompresses(t *testing.T) {
	var plain bytes.Buffer
	m := newMaker(1)
	for _, kind := range []fill{program, text, packed} {
		if err := m.write(&plain, kind, 2<<20); err != nil {
			t.Fatal(err)
		}
	}
	var b tree.Builder
	err := b.Put(tree.Entry{Path: "file", Mode: tree.TypeRegular | 0o644, Size: int64(plain.Len())}, tree.Bytes(plain.String()))
	if err != nil {
		t.Fatal(err)
	}
	var segment bytes.Buffer
	if err := formats.Segment(&segment, "x", b.Tree(), "", 0); err != nil {
		t.Fatal(err)
	}
	image, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if err := squashfs.Write(image, b.Tree(), squashfs.Options{}); err != nil {
		t.Fatal(err)
	}
	info, err := image.Stat()
	if err != nil {
		t.Fatal(err)
	}
	layer := filepath.Join(t.TempDir(), "layer")
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(layer, z.EncodeAll(plain.Bytes(), nil), 0o644); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int64{floorInitrd: int64(segment.Len()), floorSquashfs: info.Size()} {
		out := t.TempDir()
		if err := floor(t.Context(), kind, out, []string{layer}); err != nil {
			t.Fatal(err)
		}
		names, err := files(out)
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			got += info.Size()
		}
		if math.Abs(float64(got-want)) > 0.03*float64(want) {
			t.Errorf("%s: the floor makes %d bytes, the project %d", kind, got, want)
		}
	}
}

func TestStats(t *testing.T) {
	list := func(s ...float64) (out []Sample) {
		for _, x := range s {
			out = append(out, Sample{Seconds: x, CPU: 2 * x, Memory: int64(100 * x), IO: IO{Read: int64(10 * x)}})
		}
		return out
	}
	got := sumUp(Row{State: stateCold}, list(5, 1, 3, 2, 4), true)
	want := Stats{Row: Row{State: stateCold}, Runs: 5, Min: 1, Median: 3, Max: 5, CPU: 6, Memory: 500, IO: IO{Read: 30}, Kept: true}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if s := spread(list(10, 10, 10, 10, 99)); s != 0 {
		t.Errorf("one disturbed run of five: a spread of %v, want none", s)
	}
	if s := spread(list(10, 13, 10, 13, 10)); math.Abs(s-0.3) > 1e-9 {
		t.Errorf("a spread of %v, want 0.3", s)
	}
}

func TestVerdicts(t *testing.T) {
	row := func(w, engine, state string, seconds float64) Stats {
		return Stats{Row: Row{w, "f", engine, state}, Min: seconds, Median: seconds, Memory: 1 << 20}
	}
	empty := Stats{Row: emptyBuild, Min: 1, Median: 1}
	kept := row(node, engineLocal, stateNothing, 0.5)
	kept.Kept = true
	got := map[string]bool{}
	for _, v := range verdicts([]Stats{
		row(node, engineFloor, stateCold, 10), row(node, engineLocal, stateCold, 12), row(node, engineLocal, stateWarm, 10),
		row(node, engineLocal, stateService, 3), row(node, engineLocal, stateCmdline, 0.9), kept,
		row(node, engineFloor, stateNothing, 0.4), row(node, engineBuildKit, stateService, 6.9),
		row(many60, engineLocal, stateCold, 16), row(many5, engineLocal, stateCold, 10), empty,
	}, "f", 901) {
		got[v.What] = v.Pass
	}
	want := map[string]bool{
		"node: cold / floor": true, "node: one small service changed / warm": false, "node: command line changed / warm": true,
		"node: nothing changed − hashing the artifacts": true, "node: nothing changed, artifacts rewritten": true,
		"60 images / the same bytes in 5, cold":                                false,
		"node: one small service changed, (BuildKit − an empty build) / local": true,
		"most memory of lkx build (node/f/local/cold)":                         true,
		"all of this run": false,
	}
	if len(got) != len(want) {
		t.Errorf("%d verdicts, want %d: %v", len(got), len(want), got)
	}
	for what, pass := range want {
		if p, ok := got[what]; !ok || p != pass {
			t.Errorf("%s: pass is %v (%v), want %v", what, p, ok, pass)
		}
	}
}

func TestReport(t *testing.T) {
	b := &bench{samples: map[Row][]Sample{}, kept: map[Row]bool{}}
	row := Row{node, wantedFormats[0], engineLocal, stateCold}
	for _, s := range []float64{1, 2, 3} {
		b.record(row, Sample{Seconds: s, Memory: 300 * mib})
	}
	r := b.report(Machine{Processors: 2}, 0.5, time.Now(), 3, 5, nil)
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("a\n"+beginMark+"before\n"+endMark+"z\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time makes the same again
		if err := r.save(page); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a\n" + beginMark, endMark + "z\n", "| node | kernel+initrd | local | cold | 1.00 | 2.00 ± | 3.00 | 0.00 | 300 |", "200 MiB | 300 MiB | 300 MiB | over |",
		"machine was busy", "Fewer than 5 rounds",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "before") {
		t.Error("the old table is still there")
	}
	var back Report
	data, err := os.ReadFile(strings.TrimSuffix(page, ".md") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &back); err != nil || len(back.Rows) != 1 || back.Samples[row.String()][2] != 3 {
		t.Errorf("%v, %+v", err, back)
	}
	if _, err := insert([]byte("no marks"), ""); err == nil {
		t.Error("a page without marks is no error")
	}
}

// TestMain lets measure find in this test what it runs itself for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == watchArg {
		if err := run(context.Background(), os.Args[1:], io.Discard, os.Stderr); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestMeasure runs a program whose cost is known.
func TestMeasure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	s, err := measure(t.Context(), []string{"OUT=" + file}, "sh", "-c", `sleep 0.2; head -c 3000000 /dev/zero >"$OUT"; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done`)
	if err != nil {
		t.Fatal(err)
	}
	if s.Seconds < 0.2 || s.CPU < 0.01 || s.CPU > s.Seconds*float64(processors()) || s.Written < 3e6 || s.Read < 3e6 || s.Memory < 1<<18 || s.Memory > 64<<20 {
		t.Errorf("%+v", s)
	}
	if _, err := measure(t.Context(), nil, "sh", "-c", "echo why; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("the error is %v", err)
	}
}

// TestReadCPU works for a while, which must show.
func TestReadCPU(t *testing.T) {
	before, err := readCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
	}
	after, err := readCPU(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("%v s before, %v s after, %v", before, after, err)
	}
}

func TestTracks(t *testing.T) {
	for args, want := range map[string]int{
		"-rows=": 14, "-rows=local": 8, "-rows=minimal/raw/local/warm": 1, "-rows=nothing.like.it": 0,
		"-quick": 8, "-quick -rows=minimal/.*/local": 1, "-all": 40,
	} {
		o, err := parse(strings.Fields(args), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		list, _ := workloads(1, "")
		got := o.tracks(list)
		if len(got) != want {
			t.Errorf("%q: %d tracks, want %d: %v", args, len(got), want, got)
		}
		if strings.HasSuffix(args, stateWarm) && !slices.Equal(got[0].states, []string{stateCold, stateWarm}) {
			t.Errorf("%q goes through %q", args, got[0].states)
		}
	}
}
