package main

import (
	"fmt"
	"os"
	"strings"
)

// Images of this project that every made-up system has.
const (
	kernelImage     = registryHost + "/lkx-os/kernel:0.1"
	initImage       = registryHost + "/lkx-os/init:0.1"
	runcImage       = registryHost + "/lkx-os/runc:0.1"
	containerdImage = registryHost + "/lkx-os/containerd:0.1"
)

// workload is a system to build.
type workload struct {
	Name string
	Doc  string
	init []string
	// services are images, the last of them the small one, in two versions.
	services []string
	// text is a manifest to edit, instead: the last line is of a service.
	text string
}

// change tells which of two variants of a system is built.
type change struct{ service, cmdline bool }

// manifest is the text of a manifest.
func (w *workload) manifest(c change) string {
	extra := ""
	if c.cmdline {
		extra = " lkx.bench=1"
	}
	if w.text != "" {
		out := strings.Replace(w.text, " quiet", " quiet"+extra, 1)
		if c.service {
			out += "    env: [BENCH=1]\n"
		}
		return out
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# syntax=%s/lkx-os/lkx:0.1\nkernel:\n  image: %s\n  cmdline: console=ttyS0 quiet%s\ninit:\n", registryHost, kernelImage, extra)
	for _, name := range w.init {
		fmt.Fprintf(&b, "  - %s\n", name)
	}
	b.WriteString("services:\n")
	for i, name := range w.services {
		if i == len(w.services)-1 && c.service {
			name = strings.TrimSuffix(name, ":1") + ":2"
		}
		fmt.Fprintf(&b, "  - name: s%02d\n    image: %s\n    readonly: true\n", i, name)
	}
	return b.String()
}

// images are the images that are unpacked or placed in the base variant.
func (w *workload) images() []string {
	if w.text != "" {
		var out []string
		for line := range strings.Lines(w.text) {
			if i := strings.Index(line, registryHost+"/"); i >= 0 && !strings.HasPrefix(line, "#") {
				out = append(out, strings.TrimSpace(line[i:]))
			}
		}
		return out
	}
	out := append([]string{kernelImage}, w.init...)
	return append(out, w.services...)
}

const mib = 1 << 20

// library numbers the parts of images, and keeps what is to be made.
type library struct {
	scale  float64 // of all sizes
	seed   uint64
	images []image
}

// part is the next one of about size MiB.
func (l *library) part(size float64) part {
	l.seed++
	return part{l.seed, max(int64(size*l.scale*mib), 64<<10)}
}

// add makes an image and returns its name.
func (l *library) add(name string, layers ...layer) string {
	img := image{fmt.Sprintf("%s/lkx-bench/%s", registryHost, name), layers}
	l.images = append(l.images, img)
	return img.Name
}

// of is an image of three layers with size MiB in all, one of them gzip's.
func (l *library) of(name string, size float64) string {
	return l.add(name, layer{[]part{l.part(size * 0.6)}, false}, layer{[]part{l.part(size * 0.3)}, true}, layer{[]part{l.part(size * 0.1)}, false})
}

// small is a service of 2 MiB, in two versions.
func (l *library) small() string {
	l.add("small:2", layer{[]part{l.part(2)}, false})
	return l.add("small:1", layer{[]part{l.part(2)}, false})
}

// Workloads that are compared with each other: see verdicts.
const (
	minimal  = "minimal"
	node     = "node"
	many60   = "many60"
	many5    = "many5"
	examples = "example"
)

// workloads are the systems to build, and the images that are to be made for
// them. Sizes are for scale 1; example is the text of a real manifest.
func workloads(scale float64, example string) ([]*workload, []image) {
	l := &library{scale: scale}
	small := l.small()
	list := []*workload{
		{Name: minimal, Doc: "5 images, about 200 MiB", init: []string{initImage, l.of("base:1", 60)}, services: []string{l.of("app:1", 80), small}},
	}
	n := &workload{Name: node, Doc: "20 images, about 1 GiB", init: []string{initImage, runcImage, containerdImage}}
	for i, size := range []float64{220, 150, 110, 90, 70, 60, 50, 40, 30, 24, 18, 12, 9, 6, 3} {
		n.services = append(n.services, l.of(fmt.Sprintf("node%02d:1", i), size))
	}
	n.services = append(n.services, small)
	list = append(list, n, &workload{Name: many60, Doc: "58 images of 3 MiB"}, &workload{Name: many5, Doc: "the same files in 3 images"})
	const units, perImage = 58, 20
	m60, m5 := list[2], list[3]
	m60.init, m5.init = []string{initImage}, []string{initImage}
	var parts []part
	for i := range units {
		p := l.part(3)
		m60.services = append(m60.services, l.add(fmt.Sprintf("unit%02d:1", i), layer{[]part{p}, false}))
		parts = append(parts, p)
	}
	for i := 0; i < units; i += perImage {
		m5.services = append(m5.services, l.add(fmt.Sprintf("units%02d:1", i), layer{parts[i:min(i+perImage, units)], false}))
	}
	return append(list, &workload{Name: examples, Doc: "examples/minimal.yml", text: example}), l.images
}

// readExample is the text of a manifest that workload.manifest can edit.
func readExample(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err == nil && (!strings.Contains(string(text), " quiet") || !strings.HasSuffix(string(text), "    readonly: true\n")) {
		err = fmt.Errorf("%s has changed: its command line must have \"quiet\", and its last line must be of a service", name)
	}
	return string(text), err
}
