package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lkx-os/lkx/engine"
	"github.com/lkx-os/lkx/internal/source"
)

// manifestFlags say what a manifest is read with.
type manifestFlags struct {
	platform string
	args     []string
}

func (f *manifestFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.platform, "platform", "linux/"+runtime.GOARCH, "`PLATFORM` of the system")
	c.Flags().StringArrayVar(&f.args, "arg", nil, "value of an argument of the manifest, as `NAME=VALUE`, or NAME for that of the environment (repeatable)")
}

// manifests completes names of manifests.
func manifests(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yml", "yaml"}, cobra.ShellCompDirectiveFilterFileExt
}

// request reads the manifests of those names.
func (f *manifestFlags) request(ctx context.Context, names []string, stdin io.Reader) (engine.Request, error) {
	r := engine.Request{Platform: f.platform, Args: map[string]string{}, Dir: filepath.Dir(names[0])}
	if isURL(names[0]) {
		r.Dir = "."
	}
	for _, a := range f.args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return r, usageError{fmt.Errorf("--arg %s: no value, and the environment has none; write NAME=VALUE", a)}
			}
		}
		r.Args[name] = value
	}
	for _, name := range names {
		file, err := readManifest(ctx, name, stdin)
		if err != nil {
			return r, err
		}
		if !isURL(name) && name != "-" {
			dir, err := filepath.Rel(r.Dir, filepath.Dir(name))
			if err != nil {
				return r, fmt.Errorf("where %s is: %w", name, err)
			}
			if dir != "." {
				file.Dir = filepath.ToSlash(dir)
			}
		}
		r.Files = append(r.Files, file)
	}
	return r, nil
}

// baseName is the name of the files that are made of a manifest: its own,
// without the extension.
func baseName(name string) string {
	base := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	if name == "-" || base == "" {
		return "lkx"
	}
	return base
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// readManifest reads the file name, what a URL gives, or standard input for "-".
func readManifest(ctx context.Context, name string, stdin io.Reader) (*source.File, error) {
	var text []byte
	var err error
	shown := name
	switch {
	case name == "-":
		shown = "<stdin>"
		text, err = io.ReadAll(stdin)
	case isURL(name):
		text, err = get(ctx, name)
	default:
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	return &source.File{Name: shown, Data: text}, nil
}

// maxManifest is more than anybody writes, in bytes.
const maxManifest = 16 << 20

// get is what a URL gives.
func get(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server answers %s", from, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = errors.New("it is too large for a manifest")
	}
	return text, err
}
