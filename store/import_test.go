package store_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lkx-os/lkx/store"
)

func export(t *testing.T, dir string, names, platforms []string) []byte {
	t.Helper()
	var out bytes.Buffer
	s := open(t, dir, store.Options{Offline: true})
	defer s.Close()
	if err := s.Export(t.Context(), &out, names, platforms); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestRoundTrip exports images and imports them: by archive, compressed archive
// and directory.
func TestRoundTrip(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	a, b := f.host()+"/a:1", f.host()+"/b:1"
	archive := export(t, dir, []string{a, b, f.names["a:1"].String()[:20]}, nil)
	if again := export(t, dir, []string{a, b}, nil); !bytes.Equal(archive, again) {
		t.Error("other bytes the second time")
	}
	unpacked := t.TempDir()
	write(t, filepath.Join(unpacked, "a.tar"), archive)
	if out, err := exec.Command("tar", "-C", unpacked, "-xf", filepath.Join(unpacked, "a.tar")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, take := range map[string]func(*store.Store) ([]store.ImageUsage, error){
		"tar": func(s *store.Store) ([]store.ImageUsage, error) {
			return s.ImportArchive(t.Context(), bytes.NewReader(archive), "unused")
		},
		"gzip": func(s *store.Store) ([]store.ImageUsage, error) {
			return s.ImportArchive(t.Context(), bytes.NewReader(gzipped(archive)), "")
		},
		"zstd": func(s *store.Store) ([]store.ImageUsage, error) {
			return s.ImportArchive(t.Context(), bytes.NewReader(zstded(archive)), "")
		},
		"directory": func(s *store.Store) ([]store.ImageUsage, error) { return s.ImportLayout(t.Context(), unpacked, "") },
		"a store":   func(s *store.Store) ([]store.ImageUsage, error) { return s.ImportLayout(t.Context(), dir, "") },
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			s := open(t, to, store.Options{Offline: true})
			got, err := take(s)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || got[1].Name != b || got[1].Digest != f.names["b:1"].String() || !slices.Equal(got[1].Platforms, []string{"linux/amd64"}) {
				t.Errorf("%+v", got)
			}
			f.pull(t, s)
			mustPull(t, s, "x@"+f.names["b:1"].String(), "linux/amd64", f.base, f.b)
			whole(t, to)
			if left, _ := filepath.Glob(filepath.Join(to, "lkx/partial/*")); left != nil {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestExportPlatforms(t *testing.T) {
	f := newFamily(t)
	dir := pulled(t, f)
	b := f.host() + "/b:1"
	mustPull(t, open(t, dir, store.Options{}), b, "linux/arm64", f.base)
	s := open(t, t.TempDir(), store.Options{Offline: true})
	got, err := s.ImportArchive(t.Context(), bytes.NewReader(export(t, dir, []string{b}, []string{"linux/arm64"})), "")
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Platforms, []string{"linux/arm64"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	mustPull(t, s, b, "linux/arm64", f.base)
	mustFail(t, s, b, "linux/amd64", b+": manifest sha256:* is in no layout, and the network is off")
	s = open(t, dir, store.Options{Offline: true})
	checkError(t, s.Export(t.Context(), io.Discard, []string{b}, []string{"linux/s390x"}), "exporting "+b+": the store does not have it for linux/s390x, only for: linux/amd64, linux/arm64")
	var unknown *store.UnknownImageError
	if err := s.Export(t.Context(), io.Discard, []string{"b:2"}, nil); !errors.As(err, &unknown) {
		t.Errorf("error %v", err)
	}
	write(t, blobPath(dir, digest.FromBytes(gzipped(f.b))), flipped(gzipped(f.b)))
	checkError(t, s.Export(t.Context(), io.Discard, []string{b}, nil), "exporting "+b+": *: digest mismatch for layer sha256:*: got sha256:*")
}

// archiveOf is a tar archive of files, in this order; with "->" in it, a name is
// that of a link.
func archiveOf(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Name: f[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f[1]))}
		if from, to, ok := strings.Cut(f[0], "->"); ok {
			h.Name, h.Linkname, h.Typeflag = from, to, tar.TypeSymlink
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestDockerSave reads what docker wrote before it wrote OCI image layouts.
func TestDockerSave(t *testing.T) {
	layer, top := tarball(t, "f", 1000), tarball(t, "g", 10)
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer), digest.FromBytes(top), digest.FromBytes(layer)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	list := `[{"Config":"0123.json","RepoTags":["x:1","ghcr.io/o/x:2"],"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}]`
	archive := archiveOf(t,
		[2]string{"0123.json", string(config)}, [2]string{"1/layer.tar", string(layer)}, [2]string{"2/layer.tar", string(top)},
		[2]string{"3/layer.tar->../1/layer.tar"}, [2]string{"manifest.json", list}, [2]string{"repositories", "{}"})
	dir := t.TempDir()
	s := open(t, dir, store.Options{Offline: true})
	got, err := s.ImportArchive(t.Context(), bytes.NewReader(archive), "")
	if err != nil || len(got) != 2 || got[0].Name != "docker.io/library/x:1" {
		t.Fatalf("%+v, %v", got, err)
	}
	mustPull(t, s, "x:1", "linux/amd64", layer, top, layer)
	mustPull(t, s, "ghcr.io/o/x:2", "linux/amd64", layer, top, layer)
	whole(t, dir)
}

// TestBadImports imports nothing of what is wrong somewhere.
func TestBadImports(t *testing.T) {
	f := newFamily(t)
	archive := export(t, pulled(t, f), []string{f.host() + "/a:1", f.host() + "/b:1"}, nil)
	bare := newContent()
	img := bare.image(t, "linux/amd64", gz(f.a))
	nameless := bare.layoutDir(t, img)
	lacking := newContent()
	lacks := lacking.image(t, "linux/amd64", gz(f.a))
	delete(lacking.blobs, digest.FromBytes(gzipped(f.a)))
	for name, c := range map[string]struct {
		data []byte
		dir  string
		want string
	}{
		"flipped":    {data: bytes.Replace(archive, gzipped(f.a)[50:80], make([]byte, 30), 1), want: "*: digest mismatch for layer sha256:*: got sha256:*"},
		"cut":        {data: archive[:len(archive)-50_000], want: "reading the archive: unexpected EOF"},
		"cut gzip":   {data: gzipped(archive)[:300_000], want: "reading the archive: gzip: unexpected EOF"},
		"text":       {data: bytes.Repeat([]byte("text"), 1000), want: "reading the archive: archive/tar: invalid tar header"},
		"empty":      {want: "reading the archive: it has neither index.json, as OCI image layouts do, nor docker's manifest.json"},
		"outside":    {data: archiveOf(t, [2]string{"../../x", "x"}), want: "reading the archive: *: path escapes from parent"},
		"twice":      {data: archiveOf(t, [2]string{"x", "x"}, [2]string{"./x", "x"}), want: "reading the archive: x is in it twice"},
		"no files":   {data: archiveOf(t, [2]string{"manifest.json", `[{"Config":"x"}]`}), want: "reading the archive: docker's manifest.json names a file that is not there: *"},
		"loop":       {data: archiveOf(t, [2]string{"manifest.json", `[{"Config":"x"}]`}, [2]string{"x->y"}, [2]string{"y->x"}), want: "reading the archive: docker's manifest.json names a file that is not there: *"},
		"nameless":   {dir: nameless, want: "image " + img.Digest.String() + " has no name: give it one, if it is the only one"},
		"incomplete": {dir: lacking.layoutDir(t, named(lacks, refName, "x:1")), want: "docker.io/library/x:1: it is not whole: layer sha256:* is missing"},
		"nothing":    {dir: newContent().layoutDir(t), want: "there is no image in it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, store.Options{Offline: true})
			var err error
			if c.dir != "" {
				_, err = s.ImportLayout(t.Context(), c.dir, "")
			} else {
				_, err = s.ImportArchive(t.Context(), bytes.NewReader(c.data), "")
			}
			checkError(t, err, c.want)
			s.Close()
			if u := usage(t, dir); len(u.Images) != 0 || u.Kinds[store.KindPartial].Files != 0 {
				t.Errorf("left: %+v", u)
			}
			prune(t, dir, store.Policy{})
			if u := usage(t, dir); u.Size != 0 {
				t.Errorf("left: %+v", u)
			}
		})
	}
	s := open(t, t.TempDir(), store.Options{Offline: true})
	if got, err := s.ImportLayout(t.Context(), nameless, "given:1"); err != nil || got[0].Name != "docker.io/library/given:1" {
		t.Errorf("%+v, %v", got, err)
	}
	mustPull(t, s, "given:1", "linux/amd64", f.a)
}

// TestArchivesOfOthers has skopeo read what we export, and reads what it writes.
func TestArchivesOfOthers(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		if os.Getenv("LKX_TEST_E2E") == "1" {
			t.Fatal(err)
		}
		t.Skip("skopeo is not installed")
	}
	f := newFamily(t)
	archive := filepath.Join(t.TempDir(), "a.tar")
	write(t, archive, export(t, pulled(t, f), []string{f.host() + "/a:1", f.host() + "/b:1"}, nil))
	to := t.TempDir()
	for _, c := range [][2]string{
		{"oci-archive:" + archive + ":" + f.host() + "/b:1", "docker-archive:" + to + "/b.tar:b:1"},
		{"docker-archive:" + archive + ":" + f.host() + "/a:1", "oci-archive:" + to + "/a.tar:a:1"},
		{"oci-archive:" + archive + ":" + f.host() + "/a:1", "oci:" + to + "/a:a:1"},
	} {
		out, err := exec.Command(skopeo, "--insecure-policy", "--override-arch", "amd64", "--override-os", "linux", "copy", c[0], c[1]).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", c[0], err, out)
		}
	}
	s := open(t, t.TempDir(), store.Options{Offline: true})
	for _, name := range []string{"b.tar", "a.tar"} {
		data, err := os.ReadFile(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ImportArchive(t.Context(), bytes.NewReader(data), ""); err != nil {
			t.Fatal(err)
		}
	}
	mustPull(t, s, "b:1", "linux/amd64", f.base, f.b)
	mustPull(t, s, "a:1", "linux/amd64", f.base, f.a)
	s = open(t, t.TempDir(), store.Options{Offline: true})
	if _, err := s.ImportLayout(t.Context(), to+"/a", ""); err != nil {
		t.Fatal(err)
	}
	mustPull(t, s, "a:1", "linux/amd64", f.base, f.a)
}
