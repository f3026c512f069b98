package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/manifest"
	"github.com/lkx-os/lkx/oci"
)

// formatOCI places an image itself, and not its files.
const formatOCI = "oci"

// VolumesSource is the Source of an empty volume, as LinuxKit names it.
const VolumesSource = "linuxkit.volumes"

// volumesDir is where volumes are in the built system.
const volumesDir = "containers/volumes"

func volumeDir(name string) string { return path.Join(volumesDir, name) }

// volumes is where containers find the volumes of m.
func volumes(m *manifest.Manifest) map[string]oci.Volume {
	out := map[string]oci.Volume{}
	for _, v := range m.Volumes {
		out[v.Name] = oci.Volume{Path: path.Join("/", volumeDir(v.Name), "merged"), Readonly: v.Readonly}
	}
	return out
}

// volume places volume i: what it holds in lower, on which the init mounts
// merged. With a directory tmp it does so through a writable overlay.
func (b *builder) volume(ctx context.Context, i int, r Resolver) error {
	v, at := &b.m.Volumes[i], fmt.Sprintf("volumes[%d]", i)
	base := volumeDir(v.Name)
	s := b.step(at, "volumes/"+v.Name, VolumesSource)
	if v.Image.Name != "" {
		s.Source = v.Image.Name
	}
	lower := path.Join(base, "lower")
	top := dir(lower, 0o755)
	if v.Mode != nil {
		top.Mode = typeDir | uint32(*v.Mode)
	}
	b.own(&top, at, v.UID, v.GID)
	s.Defaults = []File{top}
	s.Files = append(s.Files, dir(path.Join(base, "merged"), 0o755))
	if !v.Readonly {
		s.Files = append(s.Files, dir(path.Join(base, "tmp"), 0o755))
	}
	switch {
	case v.Format == formatOCI:
		l := layoutMaker{ctx: ctx, r: r, dir: lower, seen: map[digest.Digest]bool{}, docs: map[digest.Digest]*document{}}
		if err := l.make(v); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b.fault(at+".image", err)
			return nil
		}
		s.Defaults = append(s.Defaults, dir(path.Join(lower, "blobs"), 0o755), dir(path.Join(lower, "blobs/sha256"), 0o755))
		s.Files = append(s.Files, l.files...)
	case v.Image.Name != "":
		s.Copies = []Copy{{Image: b.images[v.Image.Name], Dest: lower}}
	}
	b.parents755(base)
	b.steps = append(b.steps, s)
	return nil
}

// A layoutMaker places an image as an OCI image layout (image-spec, image-layout.md).
type layoutMaker struct {
	ctx   context.Context
	r     Resolver
	dir   string
	img   Image
	files []File
	seen  map[digest.Digest]bool // of what is placed
	docs  map[digest.Digest]*document
}

// make places what v asks for: the whole image, or its manifests for some platforms.
func (l *layoutMaker) make(v *manifest.Volume) error {
	var err error
	if l.img, err = l.r.Pin(l.ctx, v.Image.Name); err != nil {
		return err
	}
	top := ocispec.Descriptor{Digest: digest.Digest(l.img.Digest)}
	doc, err := l.read(&top)
	if err != nil {
		return err
	}
	wanted := []ocispec.Descriptor{top}
	if len(v.Platforms) > 0 {
		if wanted, err = l.choose(top, doc, v.Platforms); err != nil {
			return err
		}
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, d := range wanted {
		if err := l.place(d); err != nil {
			return err
		}
		d.Annotations = names(v.Image.Name)
		index.Manifests = append(index.Manifests, d)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("writing the layout's index: %w", err)
	}
	l.files = append(l.files,
		regular(path.Join(l.dir, ocispec.ImageIndexFile), 0o644, string(text)),
		regular(path.Join(l.dir, ocispec.ImageLayoutFile), 0o644, `{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`))
	return nil
}

// names are the annotations by which tools find an image in a layout.
func names(ref string) map[string]string {
	out := map[string]string{"io.containerd.image.name": ref}
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		if t, ok := named.(reference.Tagged); ok {
			out[ocispec.AnnotationRefName] = t.Tag()
		}
	}
	return out
}

// document is an index or a manifest (image-spec, image-index.md and manifest.md).
type document struct {
	MediaType string               `json:"mediaType"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Config    ocispec.Descriptor   `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`

	text string
}

// read reads an index or manifest, and completes its descriptor.
func (l *layoutMaker) read(d *ocispec.Descriptor) (*document, error) {
	if doc := l.docs[d.Digest]; doc != nil {
		d.Size, d.MediaType = int64(len(doc.text)), doc.MediaType
		return doc, nil
	}
	text, err := l.r.Manifest(l.ctx, l.img, *d)
	if err != nil {
		return nil, err
	}
	doc := &document{text: string(text)}
	if err := json.Unmarshal(text, doc); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	}
	switch {
	case doc.MediaType != "":
	case doc.Manifests != nil:
		doc.MediaType = ocispec.MediaTypeImageIndex
	default:
		doc.MediaType = ocispec.MediaTypeImageManifest
	}
	l.docs[d.Digest] = doc
	d.Size, d.MediaType = int64(len(text)), doc.MediaType
	return doc, nil
}

// choose are the manifests for the platforms that are asked for, in that order.
func (l *layoutMaker) choose(top ocispec.Descriptor, doc *document, wanted []string) ([]ocispec.Descriptor, error) {
	from := doc.Manifests
	if from == nil { // one manifest: its config says what it is for
		var p ocispec.Platform
		text, err := l.r.Manifest(l.ctx, l.img, doc.Config)
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err != nil {
			return nil, fmt.Errorf("reading config %s: %w", doc.Config.Digest, err)
		}
		top.Platform = &p
		from = []ocispec.Descriptor{top}
	}
	var out []ocispec.Descriptor
	for _, text := range wanted {
		p, err := platforms.Parse(text)
		if err != nil {
			return nil, err
		}
		var have []string
		found := false
		for _, d := range from {
			if d.Platform == nil {
				continue
			}
			have = append(have, platforms.Format(*d.Platform))
			if !found && platforms.OnlyStrict(p).Match(*d.Platform) {
				out, found = append(out, d), true
			}
		}
		if !found {
			return nil, fmt.Errorf("the image has nothing for %s (it has: %s)", text, strings.Join(have, ", "))
		}
	}
	return out, nil
}

// place places a manifest with all it names, or an index.
func (l *layoutMaker) place(d ocispec.Descriptor) error {
	if l.seen[d.Digest] {
		return nil
	}
	l.seen[d.Digest] = true
	doc, err := l.read(&d)
	if err != nil {
		return err
	}
	l.files = append(l.files, regular(l.path(d.Digest), 0o644, doc.text))
	for _, m := range doc.Manifests {
		if err := l.place(m); err != nil {
			return err
		}
	}
	if doc.Manifests == nil {
		l.blob(doc.Config)
		for _, layer := range doc.Layers {
			l.blob(layer)
		}
	}
	return nil
}

// path is where a blob is in the built system.
func (l *layoutMaker) path(d digest.Digest) string {
	return path.Join(l.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func (l *layoutMaker) blob(d ocispec.Descriptor) {
	if l.seen[d.Digest] {
		return
	}
	l.seen[d.Digest] = true
	l.files = append(l.files, File{
		Path: l.path(d.Digest), Mode: typeRegular | 0o644,
		Blob: &Blob{Digest: d.Digest.String(), Size: d.Size, Image: &Image{Ref: l.img.Ref, Digest: l.img.Digest}},
	})
}
