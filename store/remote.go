package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/log"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

const (
	attempts     = 4               // at one host, without any progress
	backOff      = time.Second / 4 // before the second attempt; doubles
	resolveLimit = time.Minute     // for asking one host what a name means
	stallLimit   = time.Minute / 2 // without a byte
	dialLimit    = 5 * time.Second // for a connection
	maxIdle      = 16              // connections that are kept to one host: a plan asks it for as many images at a time
)

// errStalled ends an attempt that makes no progress.
var errStalled = fmt.Errorf("no data for %s", stallLimit)

// remote is what can be asked over the network.
type remote struct {
	client  *http.Client
	creds   *credentials
	mirrors map[string][]string
	log     *log.Entry
	stall   time.Duration // stallLimit, or less in tests

	mu    sync.Mutex
	hosts map[string][]*host // of a registry: its mirrors, then itself
}

// host is a registry or a mirror of one.
type host struct {
	title    string // "registry docker.io"
	addr     string // host, and port if any
	resolver remotes.Resolver
	creds    *credentials
	last     bool                      // there is no other to ask
	dead     atomic.Pointer[hostError] // why it could not be reached
}

func newRemote(mirrors map[string][]string, dockerConfig string) (*remote, error) {
	r := &remote{
		client: &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialLimit, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   maxIdle,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   dialLimit,
			ResponseHeaderTimeout: stallLimit,
		}},
		creds:   &credentials{dir: dockerConfig},
		mirrors: mirrors,
		stall:   stallLimit,
		hosts:   map[string][]*host{},
	}
	for registry := range mirrors {
		if _, err := r.at(registry); err != nil {
			return nil, err
		}
	}
	// The resolver logs each step; what matters comes back as an error.
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	r.log = logrus.NewEntry(silent)
	return r, nil
}

// at lists whom to ask about what registry has.
func (r *remote) at(registry string) ([]*host, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hosts, ok := r.hosts[registry]; ok {
		return hosts, nil
	}
	var hosts []*host
	for _, m := range r.mirrors[registry] {
		scheme, rest, ok := strings.Cut(m, "://")
		if !ok {
			scheme, rest = "", m
		}
		u, err := url.Parse("//" + rest)
		if err != nil || u.Host == "" || scheme != "" && scheme != "http" && scheme != "https" {
			return nil, fmt.Errorf("mirror %q of %s: not a host or URL", m, registry)
		}
		title := "mirror " + u.Host
		if u.Host == registry {
			title = "registry " + registry
		}
		hosts = append(hosts, r.host(title, scheme, u.Host, u.Path))
		if u.Host == registry {
			break // the registry itself, given another scheme: nobody else to ask
		}
	}
	if n := len(hosts); n == 0 || hosts[n-1].addr != registry {
		addr, err := docker.DefaultHost(registry)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, r.host("registry "+registry, "", addr, ""))
	}
	hosts[len(hosts)-1].last = true
	r.hosts[registry] = hosts
	return hosts, nil
}

// host is the one at addr. Without a scheme this machine is asked over plain
// HTTP, others over HTTPS.
func (r *remote) host(title, scheme, addr, prefix string) *host {
	if scheme == "" {
		scheme = "https"
		if local, err := docker.MatchLocalhost(addr); err == nil && local {
			scheme = "http"
		}
	}
	config := docker.RegistryHost{
		Client:       r.client,
		Authorizer:   docker.NewDockerAuthorizer(docker.WithAuthClient(r.client), docker.WithAuthCreds(r.creds.of)),
		Host:         addr,
		Scheme:       scheme,
		Path:         "/v2" + strings.TrimSuffix(prefix, "/"),
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
	}
	return &host{
		title: title, addr: addr, creds: r.creds,
		resolver: docker.NewResolver(docker.ResolverOptions{
			Hosts:   func(string) ([]docker.RegistryHost, error) { return []docker.RegistryHost{config}, nil },
			Headers: http.Header{"User-Agent": {"lkx"}},
		}),
	}
}

// each asks one host after another until do succeeds. Its error tells what all
// of them said, the registry first. A mirror that cannot be reached is not
// asked again.
func (r *remote) each(ctx context.Context, name reference.Named, do func(context.Context, *host) error) error {
	hosts, err := r.at(reference.Domain(name))
	if err != nil {
		return err
	}
	ctx = log.WithLogger(ctx, r.log)
	var said error
	for _, h := range hosts {
		var err error
		if dead := h.dead.Load(); dead != nil && !h.last {
			err = dead
		} else {
			err = do(ctx, h)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var e *hostError
		if !errors.As(err, &e) && !errors.Is(err, errMismatch) {
			return err // ours: a full disk, say
		}
		if e != nil && e.unreachable {
			h.dead.Store(e)
		}
		if said == nil {
			said = err
		} else {
			said = fmt.Errorf("%w; %w", err, said)
		}
	}
	return said
}

// resolve asks what name means.
func (r *remote) resolve(ctx context.Context, name reference.Named) (ocispec.Descriptor, error) {
	var desc ocispec.Descriptor
	err := r.each(ctx, name, func(ctx context.Context, h *host) error {
		ctx, cancel := context.WithTimeoutCause(ctx, resolveLimit, errStalled)
		defer cancel()
		_, found, err := h.resolver.Resolve(ctx, name.String())
		if err != nil {
			return h.explain(ctx, err)
		}
		if t := found.MediaType; !images.IsIndexType(t) && !images.IsManifestType(t) {
			// A registry that does not say; only manifests have names.
			found.MediaType = ocispec.MediaTypeImageManifest
		}
		desc = found
		return nil
	})
	return desc, err
}

// fetch goes on with the download p until it is whole and verified.
func (r *remote) fetch(ctx context.Context, name reference.Named, desc ocispec.Descriptor, p *partial) error {
	desc.URLs = nil // the registry has it, and only the registry is trusted with our requests
	return r.each(ctx, name, func(ctx context.Context, h *host) error {
		f, err := h.resolver.Fetcher(ctx, name.String())
		if err != nil {
			return err
		}
		wait := backOff
		for try := 1; ; try++ {
			before := p.size
			err := h.copy(ctx, f, desc, p, r.stall)
			switch {
			case err == nil:
				if err := p.verify(); err != nil {
					return fmt.Errorf("%w from %s", err, h.title)
				}
				return nil
			case p.size > before:
				try, wait = 0, backOff
			case try == attempts || !h.last || !transient(err):
				return err
			}
			select {
			case <-time.After(wait):
				wait *= 2
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}

// copy appends what is missing of desc to p, unless nothing comes for as long as
// patience.
func (h *host) copy(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor, p *partial, patience time.Duration) error {
	if p.size == desc.Size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(patience, func() { cancel(errStalled) })
	defer stall.Stop()

	body, err := f.Fetch(ctx, desc)
	if err != nil {
		return h.explain(ctx, err)
	}
	defer body.Close()
	seeker, ok := body.(io.Seeker)
	if !ok {
		return fmt.Errorf("%s: the client cannot continue a download", h.title)
	}
	if _, err := seeker.Seek(p.size, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, min(128<<10, desc.Size-p.size))
	for p.size < desc.Size {
		n, err := body.Read(buf)
		stall.Reset(patience)
		if _, err := p.Write(buf[:min(int64(n), desc.Size-p.size)]); err != nil {
			return err
		}
		if p.size == desc.Size {
			break
		}
		if errors.Is(err, io.EOF) || status(err) == http.StatusRequestedRangeNotSatisfiable {
			return &hostError{fmt.Sprintf("%s has %d of the %d bytes of %s %s", h.title, p.size, desc.Size, kind(desc.MediaType), desc.Digest), io.ErrUnexpectedEOF, false}
		}
		if err != nil {
			return h.explain(ctx, err)
		}
	}
	return nil
}
