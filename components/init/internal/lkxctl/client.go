package lkxctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/control"
	"github.com/lkx-os/lkx/components/init/internal/vsock"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// errAway is what an error wraps when nobody answers.
var errAway = errors.New("the system does not answer")

// hintError is an error with what can be done about it.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

// client asks a system.
type client struct {
	dial func(context.Context) (net.Conn, error)
	to   string // for messages
}

// patience is how long it may take until the socket is there: lkx-services makes
// it anew for each stage of the system's life, and when it is started again.
const patience = 3 * time.Second

// newClient is a client of the system at address; "" is the one it runs in.
func newClient(address string) (client, error) {
	if address == "" {
		address = "unix://" + control.Socket
	}
	dial, err := dialer(address)
	if err != nil {
		return client{}, usageError{err}
	}
	return client{dial, address}, nil
}

// connect connects, and waits for the socket a little if it is not there.
func (c client) connect(ctx context.Context) (net.Conn, error) {
	for started := time.Now(); ; {
		conn, err := c.dial(ctx)
		passing := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
		switch {
		case err == nil:
			return conn, nil
		case !passing || time.Since(started) > patience:
			return nil, c.away(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dialer connects to "unix://PATH" or "vsock://CID:PORT".
func dialer(address string) (func(context.Context) (net.Conn, error), error) {
	kind, rest, _ := strings.Cut(address, "://")
	switch kind {
	case "unix":
		return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", rest) }, nil
	case "vsock":
		cid, port, _ := strings.Cut(rest, ":")
		c, err1 := strconv.ParseUint(cid, 10, 32)
		p, err2 := strconv.ParseUint(port, 10, 32)
		if err1 == nil && err2 == nil {
			return func(context.Context) (net.Conn, error) {
				return vsock.Dial(vsock.Addr{CID: uint32(c), Port: uint32(p)})
			}, nil
		}
	}
	return nil, fmt.Errorf("-H %q is neither unix://PATH nor vsock://CID:PORT", address)
}

// ask asks for something, and returns the answer; of logs, entries gets what
// comes behind it.
func (c client) ask(ctx context.Context, r control.Request, entries func(memlog.Entry)) (*control.Reply, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var reply control.Reply
	in := json.NewDecoder(conn)
	err = json.NewEncoder(conn).Encode(r)
	if err == nil {
		err = in.Decode(&reply)
	}
	for err == nil && reply.Error == "" && entries != nil {
		var e memlog.Entry
		if err = in.Decode(&e); err == nil {
			entries(e)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case reply.Error != "":
		return nil, &hintError{errors.New(reply.Error), reply.Hint}
	case errors.Is(err, io.EOF) && entries != nil:
		return &reply, nil
	case err != nil:
		return nil, c.away(err)
	}
	return &reply, nil
}

// away is the error of a system that cannot be reached.
func (c client) away(err error) error {
	hint := ""
	switch {
	case errors.Is(err, os.ErrNotExist):
		hint = "in a container, bind /run/lkx:/run/lkx"
	case errors.Is(err, os.ErrPermission):
		hint = "only root may ask, in the system's own user namespace"
	case strings.HasPrefix(c.to, "vsock:"):
		hint = "the system needs lkx.vsock=PORT on its kernel's command line"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "lkx-services does not run: the boot has stopped, or the system goes down"
	}
	return &hintError{fmt.Errorf("%w: %s: %w", errAway, c.to, err), hint}
}
