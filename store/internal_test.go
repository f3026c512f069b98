package store

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker keeps what is for docker.io under a name of old.
func TestDockerHubCredentials(t *testing.T) {
	dir := t.TempDir()
	config := `{"auths":{
		"https://index.docker.io/v1/": {"auth":"bWU6c2VjcmV0"},
		"ghcr.io": {"identitytoken":"token"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := credentials{dir: dir}
	for addr, want := range map[string][2]string{
		"registry-1.docker.io": {"me", "secret"},
		"ghcr.io":              {"", "token"},
		"quay.io":              {"", ""},
	} {
		user, secret, err := c.of(addr)
		if err != nil || user != want[0] || secret != want[1] {
			t.Errorf("%s: %q, %q, %v", addr, user, secret, err)
		}
		if known, trouble := c.seen(addr); known != (want[1] != "") || trouble != nil {
			t.Errorf("%s: seen %v, %v", addr, known, trouble)
		}
	}
}

// A connection on which nothing comes any more is given up, and what came is kept.
func TestStall(t *testing.T) {
	data := bytes.Repeat([]byte("stall"), 100_000)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(data), Size: int64(len(data))}
	var ranges []string
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) > 1 {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:1000])
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer srv.Close()
	defer close(release)
	s, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.remote.stall = 100 * time.Millisecond
	name, err := parse(strings.TrimPrefix(srv.URL, "http://") + "/x:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(t.Context(), name, desc); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", "bytes=1000-"}; !slices.Equal(ranges, want) {
		t.Errorf("requests for %q, want %q", ranges, want)
	}
	if got, err := os.ReadFile(s.layout.blob(desc.Digest)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAside(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abc"), 300_000)
	var out bytes.Buffer
	a := newAside(&out)
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 100_001)
		if _, err := a.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := a.Close(); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("%d bytes of %d, %v", out.Len(), len(data), err)
	}
	a = newAside(full{})
	n, err := a.Write(data)
	if closed := a.Close(); !errors.Is(closed, errFull) || n < len(data) && !errors.Is(err, errFull) {
		t.Errorf("%d bytes, %v, %v", n, err, closed)
	}
}

var errFull = errors.New("full")

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
