package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fromDocker makes an OCI image layout of the files of an archive that docker or
// podman wrote, in place. Links leads from names to files.
func fromDocker(root *os.Root, links map[string]string) error {
	text, err := root.ReadFile(dockerManifest)
	if err != nil {
		return err
	}
	var list []dockerImage
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("reading docker's %s: %w", dockerManifest, err)
	}
	if err := root.MkdirAll(path.Join(ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return err
	}
	d := dockerArchive{root: root, links: links, moved: map[string]ocispec.Descriptor{}}
	index := emptyIndex()
	for _, img := range list {
		desc, err := d.image(img)
		if err != nil {
			return err
		}
		if len(img.RepoTags) == 0 {
			index.Manifests = append(index.Manifests, desc)
		}
		for _, tag := range img.RepoTags {
			index.Manifests = append(index.Manifests, entry(tag, desc))
		}
	}
	return layout{root.Name()}.writeIndex(index)
}

// dockerArchive is an archive of docker's that becomes a layout.
type dockerArchive struct {
	root  *os.Root
	links map[string]string
	moved map[string]ocispec.Descriptor // files that are blobs now
}

// image writes the manifest that img lacks.
func (d *dockerArchive) image(img dockerImage) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var err error
	if m.Config, err = d.blob(img.Config, ocispec.MediaTypeImageConfig); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, name := range img.Layers {
		l, err := d.blob(name, ocispec.MediaTypeImageLayer)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		m.Layers = append(m.Layers, l)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if isThere(d.root, blobName(desc.Digest)) {
		return desc, nil
	}
	return desc, put(d.root, blobName(desc.Digest), bytes.NewReader(text))
}

// blob makes a file of the archive a blob.
func (d *dockerArchive) blob(name, mediaType string) (ocispec.Descriptor, error) {
	name = follow(d.links, name)
	if desc, ok := d.moved[name]; ok {
		return desc, nil
	}
	f, err := d.root.Open(name)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("docker's %s names a file that is not there: %w", dockerManifest, err)
	}
	defer f.Close()
	sum := digest.SHA256.Digester()
	size, err := io.Copy(sum.Hash(), f)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: sum.Digest(), Size: size}
	d.moved[name] = desc
	return desc, d.root.Rename(name, blobName(desc.Digest))
}

func isThere(root *os.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}
