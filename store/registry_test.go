package store_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// content is what registries and layouts of these tests serve: blobs, and
// names for some.
type content struct {
	mu    sync.Mutex
	blobs map[digest.Digest][]byte
	types map[digest.Digest]string
	names map[string]digest.Digest // "repository:tag"
}

func newContent() *content {
	return &content{
		blobs: map[digest.Digest][]byte{},
		types: map[digest.Digest]string{},
		names: map[string]digest.Digest{},
	}
}

func (c *content) add(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	c.blobs[d], c.types[d] = data, mediaType
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (c *content) addJSON(t *testing.T, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return c.add(mediaType, data)
}

// packed is a layer in a compression.
type packed struct {
	mediaType string
	tar       []byte
	pack      func([]byte) []byte
}

// image adds an image for a platform ("linux/arm64/v8").
func (c *content) image(t *testing.T, platform string, layers ...packed) ocispec.Descriptor {
	t.Helper()
	p := strings.Split(platform+"/", "/")
	config := ocispec.Image{Platform: ocispec.Platform{OS: p[0], Architecture: p[1], Variant: p[2]}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l.tar))
		m.Layers = append(m.Layers, c.add(l.mediaType, l.pack(l.tar)))
	}
	m.Config = c.addJSON(t, ocispec.MediaTypeImageConfig, config)
	desc := c.addJSON(t, m.MediaType, m)
	desc.Platform = &config.Platform
	return desc
}

func (c *content) index(t *testing.T, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	return c.addJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
}

// tarball is a tar archive of one file of size random bytes.
func tarball(t *testing.T, name string, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	seed := [32]byte{}
	copy(seed[:], name)
	_, _ = rand.NewChaCha8(seed).Read(data)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(size), Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func zstded(data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(data, nil)
}

func plain(data []byte) []byte { return data }

func gz(tar []byte) packed { return packed{ocispec.MediaTypeImageLayerGzip, tar, gzipped} }

// registry serves content over HTTP (distribution-spec, "Pull"), with faults.
type registry struct {
	*content
	*httptest.Server
	user, pass string                                                  // wanted, unless empty
	fault      func(http.ResponseWriter, *http.Request, []byte) []byte // may answer itself (nil), or change what is served

	log []string // requests: "GET blobs sha256:… bytes=5-"
}

func serve(t *testing.T, c *content) *registry {
	t.Helper()
	r := &registry{content: c}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// host is where the registry is: 127.0.0.1:port.
func (r *registry) host() string { return strings.TrimPrefix(r.URL, "http://") }

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/v2/"), "/")
	if len(parts) < 3 {
		http.NotFound(w, req)
		return
	}
	repo := strings.Join(parts[:len(parts)-2], "/")
	what, which := parts[len(parts)-2], parts[len(parts)-1]
	r.mu.Lock()
	r.log = append(r.log, strings.TrimSpace(req.Method+" "+what+" "+which+" "+req.Header.Get("Range")))
	d := digest.Digest(which)
	if named, ok := r.names[repo+":"+which]; ok {
		d = named
	}
	data, ok := r.blobs[d]
	mediaType, fault := r.types[d], r.fault
	r.mu.Unlock()
	if user, pass, _ := req.BasicAuth(); user != r.user || pass != r.pass {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}`)
		return
	}
	if fault != nil {
		if data = fault(w, req, data); data == nil {
			return
		}
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", d.String())
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
}

// count is how many requests were logged that contain text.
func (r *registry) count(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, line := range r.log {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (r *registry) setFault(f func(http.ResponseWriter, *http.Request, []byte) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// cut sends half of a blob and breaks the connection.
func cut(blob digest.Digest) func(http.ResponseWriter, *http.Request, []byte) []byte {
	return func(w http.ResponseWriter, req *http.Request, data []byte) []byte {
		if !strings.HasSuffix(req.URL.Path, blob.String()) || req.Method != http.MethodGet {
			return data
		}
		if req.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return nil
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// layoutDir writes content as an OCI image layout; entries go into index.json.
func (c *content) layoutDir(t *testing.T, entries ...ocispec.Descriptor) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "index.json"), index)
	for d, data := range c.blobs {
		write(t, filepath.Join(dir, "blobs", "sha256", d.Encoded()), data)
	}
	return dir
}

func named(desc ocispec.Descriptor, key, name string) ocispec.Descriptor {
	desc.Annotations = map[string]string{key: name}
	return desc
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
