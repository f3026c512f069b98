package store_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lkx-os/lkx/store"
)

func TestCredentials(t *testing.T) {
	r, tar, _ := one(t)
	ref := r.host() + "/x:1"
	config := func(text string) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "config.json"), []byte(strings.ReplaceAll(text, "HOST", r.host())))
		return dir
	}
	auth := func(user, pass string) string {
		return config(fmt.Sprintf(`{"auths":{"HOST":{"auth":%q}}}`, base64.StdEncoding.EncodeToString([]byte(user+":"+pass))))
	}
	none, junk := config(`{}`), config(`{"auths":`)
	helper := config(`{"credHelpers":{"HOST":"nowhere-to-be-found"}}`)
	bin := t.TempDir()
	write(t, filepath.Join(bin, "docker-credential-test"), []byte("#!/bin/sh\necho '{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"secret\"}'\n"))
	if err := os.Chmod(filepath.Join(bin, "docker-credential-test"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, dir, path, want string }{
		{"none", none, "", "it wants a login, or has no such image"},
		{"no file", t.TempDir(), "", "it wants a login, or has no such image"},
		{"good", auth("me", "secret"), "", ""},
		{"wrong", auth("me", "guess"), "", "it refused the credentials in docker's config"},
		{"junk", junk, "", "reading the credentials in " + junk + ": parsing config file (" + junk + "/config.json): unexpected EOF"},
		{"missing helper", helper, "", "reading the credentials for HOST: *docker-credential-nowhere-to-be-found*executable file not found in $PATH*"},
		{"helper", config(`{"credsStore":"test"}`), bin + ":/bin:/usr/bin", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Setenv("PATH", x.path)
			t.Setenv("HOME", "")
			os.Unsetenv("HOME")
			// Who asks for nothing gets all, whatever the config is.
			r.user, r.pass = "", ""
			mustPull(t, open(t, t.TempDir(), store.Options{DockerConfig: x.dir}), ref, "linux/amd64", tar)
			r.user, r.pass = "me", "secret"
			s := open(t, t.TempDir(), store.Options{DockerConfig: x.dir})
			if x.want == "" {
				mustPull(t, s, ref, "linux/amd64", tar)
				return
			}
			want := "HOST/x:1: unauthorized by registry HOST: " + x.want + " (docker login HOST)"
			mustFail(t, s, ref, "linux/amd64", strings.ReplaceAll(want, "HOST", r.host()))
		})
	}
}

// Registries that give tokens turn an unknown image away like a stranger.
func TestBearer(t *testing.T) {
	r, tar, _ := one(t)
	inner := r.Config.Handler
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token" && strings.Contains(req.URL.Query().Get("scope"), "repository:x:pull"):
			fmt.Fprint(w, `{"token":"let-me-in"}`)
		case req.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"requested access is denied"}]}`)
		case req.Header.Get("Authorization") != "Bearer let-me-in":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, r.URL+"/token"))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			inner.ServeHTTP(w, req)
		}
	})
	s := open(t, t.TempDir(), store.Options{})
	mustPull(t, s, r.host()+"/x:1", "linux/amd64", tar)
	want := "HOST/secret:1: unauthorized by registry HOST: it wants a login, or has no such image (docker login HOST)"
	mustFail(t, s, r.host()+"/secret:1", "linux/amd64", strings.ReplaceAll(want, "HOST", r.host()))
}

func TestMirrors(t *testing.T) {
	t.Parallel()
	c := newContent()
	tar := tarball(t, "f", 100_000)
	img := c.image(t, "linux/amd64", gz(tar))
	c.names["o/x:1"] = img.Digest
	behind := newContent()
	behind.blobs, behind.types = c.blobs, c.types
	behind.names["proxy/o/x:1"] = img.Digest
	good, empty, prefixed := serve(t, c), serve(t, newContent()), serve(t, behind)
	lying := serve(t, c)
	lying.setFault(func(_ http.ResponseWriter, req *http.Request, data []byte) []byte {
		if strings.Contains(req.URL.Path, "/blobs/") {
			return flipped(data)
		}
		return data
	})
	const dead, registry = "http://127.0.0.1:1", "127.0.0.1:2"
	ref := registry + "/o/x:1"
	for _, x := range []struct {
		name    string
		mirrors []string
		want    string
	}{
		{"none", nil, "connecting to 127.0.0.1:2: connection refused"},
		{"up", []string{good.URL}, ""},
		{"prefix", []string{prefixed.URL + "/proxy/"}, ""},
		{"no scheme", []string{prefixed.host() + "/proxy"}, ""},
		{"after a dead one", []string{dead, good.URL}, ""},
		{"after an empty one", []string{empty.URL, good.URL}, ""},
		{"after a lying one", []string{lying.URL, good.URL}, ""},
		{"all bad", []string{dead, empty.URL}, "connecting to 127.0.0.1:2: connection refused; not found in mirror " + empty.host() + " (404); connecting to 127.0.0.1:1: connection refused"},
		{"lying", []string{lying.URL}, "connecting to 127.0.0.1:2: connection refused; digest mismatch for config *: got * from mirror " + lying.host()},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := open(t, t.TempDir(), store.Options{Mirrors: map[string][]string{registry: x.mirrors}})
			if x.want == "" {
				mustPull(t, s, ref, "linux/amd64", tar)
			} else {
				mustFail(t, s, ref, "linux/amd64", ref+": "+x.want)
			}
		})
	}
	// The registry itself, over another scheme, is asked once.
	s := open(t, t.TempDir(), store.Options{Mirrors: map[string][]string{registry: {"https://" + registry}}})
	mustFail(t, s, ref, "linux/amd64", ref+": connecting to 127.0.0.1:2: connection refused")
}

// A mirror that cannot be reached does not slow down every blob.
func TestDeadMirror(t *testing.T) {
	c := newContent()
	tar := tarball(t, "f", 1000)
	c.names["x:1"] = c.image(t, "linux/amd64", gz(tar)).Digest
	good := serve(t, c)
	var asked atomic.Int32
	hangUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer hangUp.Close()
	s := open(t, t.TempDir(), store.Options{Mirrors: map[string][]string{"127.0.0.1:2": {hangUp.URL, good.URL}}})
	if _, err := s.Resolve(t.Context(), "127.0.0.1:2/x:1", "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	first := asked.Load()
	mustPull(t, s, "127.0.0.1:2/x:1", "linux/amd64", tar)
	if first == 0 || asked.Load() != first {
		t.Errorf("asked %d times, then %d", first, asked.Load())
	}
}
