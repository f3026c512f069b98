package health

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/bundle"
)

func probe(t *testing.T, namespace string, h bundle.Healthcheck) error {
	t.Helper()
	c, err := New(&h)
	if err != nil {
		t.Fatal(err)
	}
	c.Timeout = 200 * time.Millisecond
	return c.once(t.Context(), Target{Net: namespace})
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, address := range []string{port, ":" + port, "127.0.0.1:" + port, "localhost:" + port} {
		if err := probe(t, own, bundle.Healthcheck{TCP: address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	l.Close()
	if err := probe(t, own, bundle.Healthcheck{TCP: port}); err == nil {
		t.Error("nothing listens, and it is healthy")
	}
	if err := probe(t, "/proc/0/ns/net", bundle.Healthcheck{TCP: port}); err == nil {
		t.Error("no such namespace, and it is healthy")
	}
}

func TestHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
		default:
			code := 0
			if _, err := fmt.Sscanf(r.URL.RequestURI(), "/status?%d", &code); err != nil {
				t.Error(err)
			}
			w.Header().Set("Location", "/status?500")
			w.WriteHeader(code)
		}
	}))
	defer s.Close()
	for path, healthy := range map[string]bool{
		"/status?200": true, "/status?204": true, "/status?302": true, "/status?399": true, "/hints": true,
		"/status?400": false, "/status?503": false, "/slow": false,
	} {
		if err := probe(t, own, bundle.Healthcheck{HTTP: s.URL + path}); (err == nil) != healthy {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := probe(t, own, bundle.Healthcheck{HTTP: s.URL + "/status?503"}); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable") {
		t.Errorf("got %v", err)
	}
}

// namespace makes a network namespace with a listener on port 4242 in it, and
// returns its file.
func namespace(t *testing.T) string {
	t.Helper()
	type result struct {
		name string
		err  error
	}
	made, end := make(chan result), make(chan struct{})
	t.Cleanup(func() { close(end) })
	go func() {
		_ = discarded(func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				made <- result{err: err}
				return nil
			}
			lo, err := netlink.LinkByName("lo")
			if err == nil {
				err = netlink.LinkSetUp(lo)
			}
			if err == nil {
				var l net.Listener
				if l, err = net.Listen("tcp4", "127.0.0.1:4242"); err == nil {
					defer l.Close()
				}
			}
			made <- result{fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), err}
			<-end
			return nil
		})
	}()
	r := <-made
	if os.IsPermission(r.err) {
		t.Skip(r.err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.name
}

func TestNamespace(t *testing.T) {
	ns := namespace(t)
	before, err := os.Readlink(own)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := probe(t, ns, bundle.Healthcheck{TCP: "4242"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := probe(t, own, bundle.Healthcheck{TCP: "4242"}); err == nil {
		t.Error("the listener of another namespace was found in this one")
	}
	if after, err := os.Readlink(own); err != nil || after != before {
		t.Errorf("this process went from %s to %s, %v", before, after, err)
	}
	inside, err := os.Readlink(ns)
	if err != nil {
		t.Fatal(err)
	}
	if n := threadsIn(t, inside); n != 1 {
		t.Errorf("%d threads are in the namespace, want 1", n)
	}
}

// threadsIn counts this process's threads in a namespace, when those that are
// about to end have done so.
func threadsIn(t *testing.T, namespace string) int {
	t.Helper()
	n := 0
	for range 100 {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		n = 0
		for _, e := range list {
			if in, err := os.Readlink("/proc/self/task/" + e.Name() + "/ns/net"); err == nil && in == namespace {
				n++
			}
		}
		if n == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

func TestDiscarded(t *testing.T) {
	for range 50 {
		first := false
		err := discarded(func() error {
			first = unix.Gettid() == unix.Getpid()
			runtime.Gosched()
			return context.Canceled
		})
		if first || err != context.Canceled {
			t.Fatalf("on the first thread: %v, %v", first, err)
		}
	}
}
