package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.yaml.in/yaml/v3"
)

// client asks a provider by HTTP. The headers go with each request.
type client struct {
	base    string
	headers map[string]string
	wire    string // Azure's other server; "" for its own
}

// errNotFound is the answer 404.
var errNotFound = errors.New("not found")

// maxAnswer is how much is read, in bytes: more than any provider allows.
const maxAnswer = 4 << 20

// web goes to providers directly, and only to them.
var web = http.Client{
	Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, ResponseHeaderTimeout: 5 * time.Second},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// probe is the first thing that is asked: that there is no answer, or nothing
// of the kind, means that the provider is not here.
func (c client) probe(ctx context.Context, method, path string, headers map[string]string) ([]byte, http.Header, error) {
	body, header, err := c.ask(ctx, method, path, headers, nil)
	if err != nil {
		err = fmt.Errorf("%w: %w", errAbsent, err)
	}
	return body, header, err
}

// get is what path holds, nil if there is no such thing.
func (c client) get(ctx context.Context, path string) ([]byte, error) {
	body, _, err := c.ask(ctx, http.MethodGet, path, nil, nil)
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	return body, err
}

// ask asks until there is an answer that is not about the server's own troubles.
func (c client) ask(ctx context.Context, method, path string, headers map[string]string, send []byte) ([]byte, http.Header, error) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		body, header, again, err := c.once(ctx, method, path, headers, send)
		if err == nil || !again {
			return body, header, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(pause):
		}
	}
}

func (c client) once(ctx context.Context, method, path string, headers map[string]string, send []byte) (body []byte, header http.Header, again bool, err error) {
	url := c.base + path
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(send))
	if err != nil {
		return nil, nil, false, err
	}
	for _, set := range []map[string]string{c.headers, headers} {
		for k, v := range set {
			req.Header.Set(k, v)
		}
	}
	resp, err := web.Do(req)
	if err != nil {
		return nil, nil, true, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, false, fmt.Errorf("%s: %w", url, errNotFound)
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return nil, nil, true, fmt.Errorf("%s: %s", url, resp.Status)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, false, fmt.Errorf("%s: %s", url, resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, true, fmt.Errorf("%s: %w", url, err)
	}
	if len(body) > maxAnswer {
		return nil, nil, false, fmt.Errorf("%s has more than %d bytes", url, maxAnswer)
	}
	return body, resp.Header, false, nil
}

// decode reads JSON that came from path.
func (c client) decode(path string, body []byte, to any) error {
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("%s%s: %w", c.base, path, err)
	}
	return nil
}

// decodeYAML reads YAML that came from a place.
func decodeYAML(where string, text []byte, to any) error {
	if err := yaml.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// text is without blanks around it.
func text(value []byte) string { return string(bytes.TrimSpace(value)) }
