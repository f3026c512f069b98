package health

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// here is where a service is asked that names no host.
const here = "127.0.0.1"

// tcpProbe is the check that connects to address, "PORT" or "HOST:PORT".
func tcpProbe(address string) (func(context.Context, Target) error, error) {
	host, port := here, address
	if strings.Contains(address, ":") {
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("tcp: %w", err)
		}
		host = cmp.Or(host, here)
	}
	if err := checkPort(port); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	return func(ctx context.Context, t Target) error {
		conn, err := dial(ctx, t.Net, host, port)
		if err != nil {
			return err
		}
		return conn.Close()
	}, nil
}

// httpProbe is the check that gets address and wants a status of 200 to 399.
// It speaks HTTP on a connection of its own: Go's client would follow
// redirects, look for proxies, and make this program much larger.
func httpProbe(address string) (func(context.Context, Target) error, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	if u.Scheme != "http" || u.Opaque != "" {
		return nil, fmt.Errorf("http: %q is not http://HOST:PORT/PATH", address)
	}
	host, port := cmp.Or(u.Hostname(), here), cmp.Or(u.Port(), "80")
	if err := checkPort(port); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	u.Host = net.JoinHostPort(host, port)
	return func(ctx context.Context, t Target) error {
		conn, err := dial(ctx, t.Net, host, port)
		if err != nil {
			return err
		}
		defer conn.Close()
		return get(ctx, conn, u)
	}, nil
}

func get(ctx context.Context, conn net.Conn, u *url.URL) error {
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", u, err)
	}
	r.Close = true
	r.Header.Set("User-Agent", "lkx-services")
	if err := r.Write(conn); err != nil {
		return fmt.Errorf("asking for %s: %w", u, err)
	}
	in := bufio.NewReader(conn)
	for {
		answer, err := http.ReadResponse(in, r)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", u, err)
		}
		answer.Body.Close()
		switch code := answer.StatusCode; {
		case code < 200: // an interim answer
		case code < 400:
			return nil
		default:
			return fmt.Errorf("%s: status %s", u, answer.Status)
		}
	}
}

func checkPort(port string) error {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port", port)
	}
	return nil
}

// addresses are those of host, which may be a name. That is looked up as this
// system knows it: a container's own ideas of names are not asked.
func addresses(ctx context.Context, host string) ([]string, error) {
	switch {
	case net.ParseIP(host) != nil:
		return []string{host}, nil
	case host == "localhost":
		return []string{here, "::1"}, nil
	}
	list, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("finding the host: %w", err)
	}
	return list, nil
}

// dial connects from within a network namespace, to the first address of host
// that answers.
func dial(ctx context.Context, namespace, host, port string) (net.Conn, error) {
	list, err := addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = within(namespace, func() error {
		var errs []error
		for _, a := range list {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a, port)) // of an address, on this thread
			if err == nil {
				conn = c
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return conn, err
}
