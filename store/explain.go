package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// hostError is what a host did, in one line for people. It wraps the error of
// the client, whose text is for developers.
type hostError struct {
	text        string
	err         error
	unreachable bool
}

func (e *hostError) Error() string { return e.text }
func (e *hostError) Unwrap() error { return e.err }

// explain puts an error of asking h into words.
func (h *host) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(cause, errStalled) {
			return cause
		}
		return &hostError{fmt.Sprintf("waiting for %s: %v", h.title, cause), cause, true}
	}
	say := func(format string, args ...any) error {
		return &hostError{fmt.Sprintf(format, args...), err, errors.As(err, new(*url.Error))}
	}
	var netErr *url.Error
	switch {
	case status(err) != 0:
		return say("%s", h.explainStatus(status(err), err))
	case errors.Is(err, docker.ErrInvalidAuthorization):
		return say("%s", h.explainStatus(http.StatusUnauthorized, err))
	case errdefs.IsNotFound(err):
		return say("%s", h.explainStatus(http.StatusNotFound, err))
	case errors.As(err, &netErr):
		// Without what it wraps in method, URL and address.
		addr := h.addr
		if u, err := url.Parse(netErr.URL); err == nil && u.Host != "" {
			addr = u.Host // of a token service or a blob store, perhaps
		}
		return say("connecting to %s: %s", addr, plainNet(netErr.Err))
	case transient(err):
		return say("reading from %s: %s", h.title, plainNet(err))
	}
	return say("asking %s: %v", h.title, oneLine(err))
}

// status is the HTTP status in err, or 0.
func status(err error) int {
	var s remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &s) {
		return s.StatusCode
	}
	return 0
}

func (h *host) explainStatus(code int, err error) string {
	switch code {
	case http.StatusNotFound:
		return fmt.Sprintf("not found in %s (404)", h.title)
	case http.StatusUnauthorized:
		why := "it wants a login, or has no such image"
		if known, trouble := h.creds.seen(h.addr); trouble != nil {
			why = oneLine(trouble)
		} else if known {
			why = "it refused the credentials in docker's config"
		}
		return fmt.Sprintf("unauthorized by %s: %s (docker login %s)", h.title, why, loginName(h.addr))
	case http.StatusTooManyRequests:
		return fmt.Sprintf("%s allows no more requests for now (429%s)", h.title, message(err))
	}
	return fmt.Sprintf("%s answered %d %s%s", h.title, code, http.StatusText(code), message(err))
}

// message is what the registry says beside the status (distribution-spec,
// "Error Codes").
func message(err error) string {
	var e docker.Errors
	if errors.As(err, &e) && len(e) > 0 {
		return ": " + oneLine(e[0])
	}
	return ""
}

// plainNet is the last link of a chain of network errors, which says it all.
func plainNet(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection broke off"
	}
	return oneLine(err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// transient tells whether an error may be gone at the next attempt.
func transient(err error) bool {
	if code := status(err); code != 0 {
		return code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary || dns.IsTimeout
	}
	var op *net.OpError
	return errors.As(err, &op) || isTimeout(err) || errors.Is(err, errStalled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
