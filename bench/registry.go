package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registryHost is the registry that images are named to be in; ours is its mirror.
const registryHost = "ghcr.io"

// registry serves image layouts as a mirror of registryHost, read-only
// (distribution-spec, "Pull").
type registry struct {
	layouts []layoutDir
	names   map[string]ocispec.Descriptor // "lkx-os/hello:0.1"
}

// newRegistry serves what the index.json of each directory names.
func newRegistry(dirs ...string) (*registry, error) {
	r := &registry{names: map[string]ocispec.Descriptor{}}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
		if err != nil {
			return nil, err
		}
		var index ocispec.Index
		if err := json.Unmarshal(text, &index); err != nil {
			return nil, fmt.Errorf("reading %s: %w", dir, err)
		}
		r.layouts = append(r.layouts, layoutDir(dir))
		for _, d := range index.Manifests {
			r.names[strings.TrimPrefix(d.Annotations[nameKey], registryHost+"/")] = d
		}
	}
	return r, nil
}

// start listens on a port of this machine, and gives its address.
func (r *registry) start() (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(l, r) }() // until the program ends
	return l.Addr().String(), nil
}

// ServeHTTP answers /v2/, /v2/NAME/manifests/REFERENCE and /v2/NAME/blobs/DIGEST.
func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	rest := strings.TrimPrefix(q.URL.Path, "/v2/")
	if rest == "" {
		return
	}
	name, ref, isManifest := strings.Cut(rest, "/manifests/")
	if !isManifest {
		_, ref, _ = strings.Cut(rest, "/blobs/")
	} else if d, ok := r.names[name+":"+ref]; ok {
		ref = d.Digest.String()
	}
	d, err := digest.Parse(ref)
	if err != nil {
		http.NotFound(w, q)
		return
	}
	path, err := r.find(d)
	if err != nil {
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Type", "application/octet-stream")
	if isManifest {
		var doc struct{ MediaType string }
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &doc) == nil {
			w.Header().Set("Content-Type", doc.MediaType)
		}
	}
	http.ServeFile(w, q, path)
}

// find is the path of a blob.
func (r *registry) find(d digest.Digest) (string, error) {
	for _, l := range r.layouts {
		p := l.blob(d.Encoded())
		if _, err := os.Stat(p); err == nil {
			return p, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fs.ErrNotExist
}

// manifest is the manifest of an image by its full name, for this machine's
// architecture, or for the first that there is.
func (r *registry) manifest(name, arch string) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	d, ok := r.names[strings.TrimPrefix(name, registryHost+"/")]
	if !ok {
		return m, fmt.Errorf("there is no image %s: run make images", name)
	}
	for {
		var doc struct {
			ocispec.Manifest
			Manifests []ocispec.Descriptor `json:"manifests"`
		}
		p, err := r.find(d.Digest)
		if err != nil {
			return m, err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return m, err
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			return m, fmt.Errorf("reading the manifest of %s: %w", name, err)
		}
		if doc.Manifests == nil {
			return doc.Manifest, nil
		}
		found := false
		for _, m := range doc.Manifests {
			if m.Platform != nil && m.Platform.Architecture == arch {
				d, found = m, true
			}
		}
		if !found {
			return m, fmt.Errorf("image %s is not for %s", name, arch)
		}
	}
}
