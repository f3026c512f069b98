package store

import (
	"os"
	"path/filepath"
	"testing"
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
