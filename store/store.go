// Package store keeps images in an OCI image layout, and fills it from
// registries and other layouts.
//
// # On disk
//
//	oci-layout, index.json   the layout; index.json names every whole image
//	blobs/sha256/HEX         manifests, configs and compressed layers
//	lkx/layers/sha256/HEX    uncompressed layers, named by their own digest (diff ID)
//	lkx/derived/KIND/KEY     what was made from images, named by what it was made of
//	lkx/partial/HEX          downloads to be continued
//	lkx/locks/NAME           locks between processes; empty files
//
// skopeo, crane and buildx read the directory as it is. Of an image for
// several platforms only those asked for have their layers here. The layers of
// an image found in another layout are unpacked from there and not copied.
//
// # What is verified
//
// Whatever is fetched is verified before it has its final name: a file is
// written beside, hashed and renamed, under a lock of its own, so a run that was
// killed leaves nothing that a later one trusts. Manifests and configs are
// verified each time they are read, a compressed layer by what it unpacks to. An
// uncompressed layer is verified (diff ID) as it is written, and then stamped:
// its modification time tells its size, and the boot of the system it was written
// in. A file that still has its stamp was not written to since and is used
// without another pass over it; one that lost it (an edit, a truncation, a plain
// copy, a reboot) is verified again, and unpacked again if it fails. So nothing
// has to be flushed before it is used, but index.json: a disk that lost what was
// written to it is noticed. Derived files are stamped alike, and made again if
// they fail.
//
// # What is removed, and when
//
// A store that is open is in use: nothing in it is removed but by who has it
// open alone ([Options.Alone]). The access time of a file is when it was of use
// last, and that of an image's manifest or index, when the image was.
package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/gofrs/flock"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lkx-os/lkx/assemble"
	"github.com/lkx-os/lkx/internal/slots"
	"github.com/lkx-os/lkx/plan"
)

// parallel is how many layers of a store are fetched or unpacked at a time.
const parallel = 4

// Options of a store. The zero value pulls from registries, with the
// credentials of docker's configuration.
type Options struct {
	// Layouts are directories of other OCI image layouts. They are only read,
	// and searched before any registry.
	Layouts []string

	// Mirrors are tried, in order, before the registry they stand for:
	// "docker.io" → "mirror.example.com/prefix", "http://localhost:5057". What
	// follows the host goes between /v2/ and the repository's name. Giving
	// "http://HOST" for HOST itself makes lkx speak plain HTTP to it.
	Mirrors map[string][]string

	// DockerConfig is the directory of docker's config.json, which has the
	// credentials; "" means $DOCKER_CONFIG, else ~/.docker.
	DockerConfig string

	// Offline forbids the network: a tag means what it did when the store last
	// had the image whole.
	Offline bool

	// Progress is told of fetching and unpacking, one call at a time.
	Progress func(Event)

	// Alone keeps all others out until Close, as removing things needs it. Open
	// waits until nobody has the store open; those who come later wait in turn.
	Alone bool

	// NoWait makes Open give [ErrBusy] where it would wait.
	NoWait bool

	// Waiting is told, once, that Open has to wait for others.
	Waiting func()
}

// Event is progress on one blob.
type Event struct {
	Ref         string // of the image, in full; of others, what people know them by
	Digest      string // of the blob
	Op          string // "pull", "unpack", "import", "export" or "verify"
	Done, Total int64  // bytes of the blob as it is in the registry
	Finished    bool   // it was the last event of this blob and Op
}

// Store is an image store. Any number of goroutines and processes may share
// one directory.
type Store struct {
	layout // our own
	stamper
	use          *flock.Flock // that it is open; nil if it cannot be written to
	alone        bool
	layouts      []layout // others
	remote       *remote  // nil when offline
	slots        *slots.Slots
	naming       naming
	progress     func(Event)
	progressLock sync.Mutex
}

var (
	_ plan.Resolver    = (*Store)(nil)
	_ assemble.Fetcher = (*Store)(nil)
	_ assemble.Blobs   = (*Store)(nil)
)

// Open opens the store in dir, which is made if there is none. It waits for who
// has the store open alone.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	s := &Store{
		layout:   layout{dir},
		stamper:  newStamper(),
		alone:    o.Alone,
		slots:    slots.New(parallel),
		progress: o.Progress,
	}
	for _, l := range o.Layouts {
		other := layout{l}
		if _, err := other.index(); err != nil {
			return nil, err
		}
		s.layouts = append(s.layouts, other)
	}
	if !o.Offline {
		var err error
		if s.remote, err = newRemote(o.Mirrors, o.DockerConfig); err != nil {
			return nil, err
		}
	}
	err := s.create(ctx)
	if err == nil {
		s.use, err = s.hold(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the image store %s: %w", dir, err)
	}
	return s, nil
}

// Close gives the store free to be pruned, and ends idle connections to
// registries. Layers stay open.
func (s *Store) Close() error {
	if s.remote != nil {
		s.remote.client.CloseIdleConnections()
	}
	if s.use == nil {
		return nil
	}
	return s.use.Close()
}

// Resolve finds what ref means now, and the config it has for platform
// ("linux/arm64"). A name without a registry is docker.io's, one without a tag
// is ":latest". A digest that is in the store needs no network; a tag is looked
// up in the other layouts, else asked of its registry, each time.
func (s *Store) Resolve(ctx context.Context, ref, platform string) (plan.Image, error) {
	name, err := parse(ref)
	if err != nil {
		return plan.Image{}, err
	}
	img, err := s.resolve(ctx, name, platform)
	if err != nil {
		return plan.Image{}, fmt.Errorf("%s: %w", name, err)
	}
	return plan.Image{Ref: name.String(), Digest: img.top.Digest.String(), Config: img.config}, nil
}

func (s *Store) resolve(ctx context.Context, name reference.Named, platform string) (image, error) {
	found, err := s.find(ctx, name)
	if err != nil {
		return image{}, err
	}
	return s.image(ctx, name, found, platform)
}

// find is what name means: one descriptor, or the several that a layout without
// an index of its own has for several platforms.
func (s *Store) find(ctx context.Context, name reference.Named) ([]ocispec.Descriptor, error) {
	if d, ok := name.(reference.Digested); ok {
		return []ocispec.Descriptor{{Digest: d.Digest()}}, nil
	}
	for _, l := range s.layouts {
		found, err := l.named(name)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	if s.remote == nil {
		found, err := s.named(name)
		if err == nil && len(found) == 0 {
			err = errors.New("not in the store, and the network is off")
		}
		return found, err
	}
	desc, err := s.remote.resolve(ctx, name)
	return []ocispec.Descriptor{desc}, err
}

// Pin finds what ref means now, whatever platforms it is for.
func (s *Store) Pin(ctx context.Context, ref string) (plan.Image, error) {
	name, err := parse(ref)
	if err != nil {
		return plan.Image{}, err
	}
	found, err := s.find(ctx, name)
	if err == nil && len(found) > 1 {
		err = errors.New("the layout names several images so, one for each platform, and no index of them")
	}
	if err != nil {
		return plan.Image{}, fmt.Errorf("%s: %w", name, err)
	}
	return plan.Image{Ref: name.String(), Digest: found[0].Digest.String()}, nil
}

// Manifest reads a manifest, index or config of img by its digest.
func (s *Store) Manifest(ctx context.Context, img plan.Image, d ocispec.Descriptor) ([]byte, error) {
	name, err := parse(img.Ref)
	if err != nil {
		return nil, err
	}
	text, err := s.read(ctx, name, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// Blob is the path of a file that holds b, fetched unless it is there, and
// verified.
func (s *Store) Blob(ctx context.Context, b plan.Blob) (string, error) {
	d := digest.Digest(b.Digest)
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", b.Digest, err)
	}
	if b.Image == nil {
		return s.download(ctx, b.URL, d)
	}
	name, err := parse(b.Image.Ref)
	if err != nil {
		return "", err
	}
	desc := ocispec.Descriptor{Digest: d, Size: b.Size}
	path, err := s.blob(ctx, name, desc)
	if err == nil {
		err = verify(path, desc)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return path, nil
}

// Layers opens the layers of img for platform, lowest first; the caller closes
// them. Those that are not in the store are fetched, unpacked and verified.
func (s *Store) Layers(ctx context.Context, img plan.Image, platform string) ([]assemble.Layer, error) {
	name, err := parse(img.Ref)
	if err != nil {
		return nil, err
	}
	layers, err := s.layers(ctx, name, img.Digest, platform)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return layers, nil
}

func (s *Store) layers(ctx context.Context, name reference.Named, dgst, platform string) ([]assemble.Layer, error) {
	d, err := digest.Parse(dgst)
	if err != nil {
		return nil, fmt.Errorf("digest %q: %w", dgst, err)
	}
	img, err := s.image(ctx, name, []ocispec.Descriptor{{Digest: d}}, platform)
	if err != nil {
		return nil, err
	}
	diffIDs, err := img.diffIDs()
	if err != nil {
		return nil, err
	}
	out := make([]assemble.Layer, len(diffIDs))
	g, gctx := errgroup.WithContext(ctx)
	for i, desc := range img.layers {
		g.Go(func() error {
			l, err := s.layer(gctx, name, desc, diffIDs[i])
			if err == nil {
				out[i] = l
			}
			return err
		})
	}
	if err = g.Wait(); err == nil {
		err = s.keepName(ctx, name, img)
	}
	if err != nil {
		for _, l := range out {
			if l != nil {
				l.Close()
			}
		}
		return nil, err
	}
	return out, nil
}

// parse is ref in full: docker.io/library/x:latest for "x".
func parse(ref string) (reference.Named, error) {
	name, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	return reference.TagNameOnly(name), nil
}

// keepName writes name into index.json, if all of img is in this layout.
func (s *Store) keepName(ctx context.Context, name reference.Named, img image) error {
	for _, b := range append(img.needs(), img.top) {
		if !s.has(b) {
			return nil
		}
	}
	if known, err := s.named(name); err != nil || len(known) == 1 && known[0].Digest == img.top.Digest {
		return err
	}
	return s.giveName(ctx, name.String(), img.top)
}

// naming is what has yet to be named in index.json.
type naming struct {
	mu   sync.Mutex
	want map[string]ocispec.Descriptor
}

// giveName makes name mean desc in index.json. Who comes while another writes
// that file waits, and the first of them writes for all.
func (s *Store) giveName(ctx context.Context, name string, desc ocispec.Descriptor) error {
	s.naming.mu.Lock()
	if s.naming.want == nil {
		s.naming.want = map[string]ocispec.Descriptor{}
	}
	s.naming.want[name] = desc
	s.naming.mu.Unlock()
	unlock, err := s.lock(ctx, indexLock)
	if err != nil {
		return err
	}
	defer unlock()
	s.naming.mu.Lock()
	want := s.naming.want
	s.naming.want = nil
	s.naming.mu.Unlock()
	if len(want) == 0 {
		return nil
	}
	var entries []ocispec.Descriptor
	for _, name := range slices.Sorted(maps.Keys(want)) {
		entries = append(entries, entry(name, want[name]))
	}
	return s.setNames(entries...)
}

// report tells of progress, one caller at a time.
func (s *Store) report(e Event) {
	if s.progress == nil {
		return
	}
	s.progressLock.Lock()
	defer s.progressLock.Unlock()
	s.progress(e)
}

// side is a path among what the layout keeps beside its own.
func (s *Store) side(elem ...string) string {
	return filepath.Join(append([]string{s.dir, "lkx"}, elem...)...)
}

// create makes the layout's own files, unless they are there.
func (s *Store) create(ctx context.Context) error {
	marker := filepath.Join(s.dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(marker); err == nil {
		_, err := s.index()
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); n != "lkx" && n != "blobs" && !strings.HasPrefix(n, ".") && n != ocispec.ImageIndexFile && n != ocispec.ImageLayoutFile {
			return fmt.Errorf("not an OCI image layout, and not empty (it has %s): choose another directory", n)
		}
	}
	unlock, err := s.lock(ctx, indexLock)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(marker); err == nil {
		return nil // another process was first
	}
	if err := os.MkdirAll(filepath.Join(s.dir, ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, ocispec.ImageIndexFile)); errors.Is(err, os.ErrNotExist) {
		if err := s.writeIndex(emptyIndex()); err != nil {
			return err
		}
	}
	return writeFile(marker, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`))
}
