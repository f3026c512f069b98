package store

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
)

// credentials are those that "docker login" keeps. Trouble in finding them
// counts only when a registry then turns us away: most images need none.
type credentials struct {
	dir string // of config.json; "" is docker's own default

	mu      sync.Mutex
	file    *configfile.ConfigFile
	err     error
	found   map[string]bool
	trouble map[string]error
}

// of finds the credentials for the host addr. No user with a secret means that
// the secret is a token.
func (c *credentials) of(addr string) (user, secret string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found == nil {
		c.found, c.trouble = map[string]bool{}, map[string]error{}
		c.file, c.err = c.load()
	}
	if c.err != nil {
		c.trouble[addr] = c.err
		return "", "", nil
	}
	key := addr
	if loginName(addr) == "docker.io" {
		key = "https://index.docker.io/v1/"
	}
	auth, err := c.file.GetAuthConfig(key)
	if err != nil {
		c.trouble[addr] = fmt.Errorf("reading the credentials for %s: %w", loginName(addr), err)
		return "", "", nil
	}
	delete(c.trouble, addr)
	if auth.IdentityToken != "" {
		c.found[addr] = true
		return "", auth.IdentityToken, nil
	}
	c.found[addr] = auth.Username != "" && auth.Password != ""
	return auth.Username, auth.Password, nil
}

// load reads docker's config, which need not exist.
func (c *credentials) load() (*configfile.ConfigFile, error) {
	dir := c.dir
	if dir == "" {
		dir = os.Getenv(config.EnvOverrideConfigDir)
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return configfile.New(""), nil // nobody's home: nobody's credentials
		}
		dir = filepath.Join(home, ".docker")
	}
	file, err := config.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the credentials in %s: %w", dir, err)
	}
	return file, nil
}

// seen tells whether there were credentials for addr, and what went wrong when
// looking for them.
func (c *credentials) seen(addr string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found[addr], c.trouble[addr]
}

// loginName is what "docker login" calls the registry at addr.
func loginName(addr string) string {
	if addr == "registry-1.docker.io" {
		return "docker.io"
	}
	return addr
}
