package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper/commandconn"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/connhelper"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/tonistiigi/fsutil"

	"github.com/lkx-os/lkx/frontend"
)

// BuildKit builds on a daemon, with the frontend in this process: the manifest
// needs no "# syntax" line, and no frontend image is pulled.
type BuildKit struct {
	// Addr is the daemon's address (unix://, tcp://, docker-container://…), or
	// "docker" for the builder that "docker buildx" uses.
	Addr string
	// Tool is a static Linux build of this program, for the builder's exec ops.
	Tool string
}

// localTool is the name under which the program is sent to the daemon.
const localTool = "lkx-tool"

// Build implements [Engine].
func (b *BuildKit) Build(ctx context.Context, r Request) ([]string, error) {
	if _, err := r.parse(); err != nil {
		return nil, err
	}
	c, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return r.staged(func(dir string) error {
		opt, err := b.options(&r, dir)
		if err != nil {
			return err
		}
		status := make(chan *client.SolveStatus)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for s := range status {
				if r.Status != nil {
					r.Status(s)
				}
			}
		}()
		_, err = c.Build(ctx, *opt, "", func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
			return frontend.Build(ctx, g, frontend.Options{Tools: b.toolchain, Parse: r.manifest, Base: r.Base})
		}, status)
		<-done
		return err
	})
}

// dial connects to the daemon.
func (b *BuildKit) dial(ctx context.Context) (*client.Client, error) {
	var opts []client.ClientOpt
	addr := b.Addr
	if addr == "docker" {
		addr = ""
		opts = append(opts, client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return commandconn.New(ctx, "docker", "buildx", "dial-stdio")
		}))
	} else if h, err := connhelper.GetConnectionHelper(addr); err != nil {
		return nil, fmt.Errorf("address %s: %w", addr, err)
	} else if h != nil {
		opts = append(opts, client.WithContextDialer(h.ContextDialer))
	}
	c, err := client.New(ctx, addr, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to BuildKit at %s: %w", b.Addr, err)
	}
	if _, err := c.Info(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("connecting to BuildKit at %s: %w", b.Addr, err)
	}
	return c, nil
}

// options are what the frontend finds as if buildx had sent it.
func (b *BuildKit) options(r *Request, out string) (*client.SolveOpt, error) {
	var err error
	mounts := map[string]fsutil.FS{}
	for local, dir := range map[string]string{"context": r.Dir, localTool: filepath.Dir(b.Tool)} {
		if mounts[local], err = fsutil.NewFS(dir); err != nil {
			return nil, fmt.Errorf("opening %s: %w", dir, err)
		}
	}
	var formats []string
	for _, f := range r.Formats {
		formats = append(formats, f.Name)
	}
	attrs := map[string]string{
		"platform":                             r.Platform,
		"build-arg:" + frontend.ArgFormat:      strings.Join(formats, ","),
		"build-arg:" + frontend.ArgCompression: r.Compression,
		"build-arg:" + frontend.ArgSize:        size(r.Size),
		"build-arg:SOURCE_DATE_EPOCH":          strconv.FormatInt(r.Epoch, 10),
	}
	maps.DeleteFunc(attrs, func(_, v string) bool { return v == "" })
	auth := authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(config.LoadDefaultConfigFile(os.Stderr)),
	})
	return &client.SolveOpt{
		FrontendAttrs: attrs,
		LocalMounts:   mounts,
		Session:       []session.Attachable{auth},
		Exports:       []client.ExportEntry{{Type: client.ExporterLocal, OutputDir: out}},
	}, nil
}

// size is a number of bytes as the frontend reads it, "" for none.
func size(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// toolchain sends this program to the daemon, which keeps it by its contents.
func (b *BuildKit) toolchain(_ context.Context, c gateway.Client) (llb.State, string, error) {
	if b.Tool == "" {
		return llb.State{}, "", errors.New("this lkx cannot run in a builder: it needs to be a static program for Linux")
	}
	name := filepath.Base(b.Tool)
	return llb.Local(localTool, llb.IncludePatterns([]string{name}), llb.SharedKeyHint(localTool),
		llb.SessionID(c.BuildOpts().SessionID), llb.WithCustomName("[internal] send lkx")), name, nil
}
