// Package memlog is LinuxKit's protocol for logs, both sides of both halves.
//
// Who wants to read connects to a query socket and sends one byte, a [Mode]; it
// gets an [Entry] as JSON on each line. Who wants to have its output logged
// sends a datagram with a name and the reading end of a pipe to an external
// logger's socket. (linuxkit/linuxkit, pkg/memlogd.)
package memlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"
)

// Where the two sockets are.
const (
	QuerySocket    = "/run/memlogdq.sock"
	ExternalSocket = "/run/linuxkit-external-logging.sock"
)

// Entry is one line of a log.
type Entry struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"` // "web", "web.out", "onboot.000-sysctl"
	Msg    string    `json:"msg"`    // without its end
}

// Mode is what a reader wants.
type Mode byte

// The modes, as they are on the wire.
const (
	Dump       Mode = iota // what there is
	Follow                 // what is still to come
	DumpFollow             // both
)

// Query asks at a query socket for entries until there are no more, or ctx is
// done. The last pair has the error, if any; that the other side has closed is
// one unless the mode is [Dump].
func Query(ctx context.Context, socket string, mode Mode) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			yield(Entry{}, fmt.Errorf("asking for logs: %w", err))
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		if _, err := conn.Write([]byte{byte(mode)}); err != nil {
			yield(Entry{}, fmt.Errorf("asking for logs: %w", err))
			return
		}
		in := json.NewDecoder(conn)
		for {
			var e Entry
			err := in.Decode(&e)
			if errors.Is(err, io.EOF) && mode == Dump {
				return
			}
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(e, fmt.Errorf("reading logs: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
