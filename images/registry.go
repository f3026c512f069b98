package images

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
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registries speaks to registries (distribution-spec).
type registries struct {
	mirrors map[string][]string
	creds   func() *configfile.ConfigFile
	client  *http.Client
}

func newRegistries(mirrors map[string][]string) *registries {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	transport.ResponseHeaderTimeout = 60 * time.Second
	return &registries{
		mirrors: mirrors,
		creds:   sync.OnceValue(func() *configfile.ConfigFile { return config.LoadDefaultConfigFile(io.Discard) }),
		client:  &http.Client{Transport: transport},
	}
}

// credentials are those of "docker login". An error is that of a credential
// helper which the user's configuration names.
func (r *registries) credentials(host string) (user, secret string, err error) {
	if host == "registry-1.docker.io" {
		host = "https://index.docker.io/v1/"
	}
	auth, err := r.creds().GetAuthConfig(host)
	if err != nil {
		return "", "", fmt.Errorf("asking for the credentials of %s: %w", host, err)
	}
	if auth.IdentityToken != "" {
		return "", auth.IdentityToken, nil
	}
	return auth.Username, auth.Password, nil
}

// hosts are where a registry's images are asked for: its mirrors, then itself.
func (r *registries) hosts(registry string) ([]docker.RegistryHost, error) {
	var out []docker.RegistryHost
	for _, m := range append(append([]string{}, r.mirrors[registry]...), registry) {
		own := m == registry
		scheme, host, given := strings.Cut(m, "://")
		if !given {
			scheme, host = "https", m
			if local, err := docker.MatchLocalhost(host); err == nil && local {
				scheme = "http"
			}
		}
		if own && registry == "docker.io" {
			host = "registry-1.docker.io"
		}
		host, prefix, _ := strings.Cut(strings.TrimSuffix(host, "/"), "/")
		path := "/v2"
		if prefix != "" {
			path += "/" + prefix
		}
		out = append(out, docker.RegistryHost{
			Client: r.client, Host: host, Scheme: scheme, Path: path,
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
			Authorizer:   docker.NewDockerAuthorizer(docker.WithAuthClient(r.client), docker.WithAuthCreds(r.credentials)),
		})
	}
	return out, nil
}

// remote is a source: one image in its registry.
type remote struct {
	ref      string // in full
	registry string
	resolver remotes.Resolver
}

func (r *registries) remote(named reference.Named) (*remote, error) {
	return &remote{
		ref: named.String(), registry: reference.Domain(named),
		resolver: docker.NewResolver(docker.ResolverOptions{Hosts: r.hosts}),
	}, nil
}

// resolve asks the registry what the reference names.
func (r *remote) resolve(ctx context.Context) (ocispec.Descriptor, error) {
	_, desc, err := r.resolver.Resolve(ctx, r.ref)
	if err != nil {
		return ocispec.Descriptor{}, r.explain(err)
	}
	return desc, nil
}

// open implements [source].
func (r *remote) open(ctx context.Context, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	f, err := r.resolver.Fetcher(ctx, r.ref)
	if err != nil {
		return nil, r.explain(err)
	}
	body, err := f.Fetch(ctx, desc)
	if err != nil {
		return nil, r.explain(err)
	}
	if offset == 0 {
		return body, nil
	}
	s, ok := body.(io.Seeker)
	if !ok {
		body.Close()
		return nil, fmt.Errorf("%s: a pull cannot be continued here", r.ref)
	}
	if _, err := s.Seek(offset, io.SeekStart); err != nil {
		body.Close()
		return nil, fmt.Errorf("%s: continuing a pull: %w", r.ref, err)
	}
	return body, nil
}

// explain says in a line what went wrong between us and the registry.
func (r *remote) explain(err error) error {
	var u *url.Error
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s: not found in registry %s: %w", r.ref, r.registry, errdefs.ErrNotFound)
	case errors.As(err, &u):
		host := u.URL
		if parsed, perr := url.Parse(u.URL); perr == nil {
			host = parsed.Host
		}
		return fmt.Errorf("%s: reaching %s: %w", r.ref, host, u.Err)
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err), strings.Contains(err.Error(), "authorization failed"):
		return fmt.Errorf("%s: registry %s refuses access (docker login %s): %w", r.ref, r.registry, r.registry, err)
	}
	return fmt.Errorf("%s: %w", r.ref, err)
}
