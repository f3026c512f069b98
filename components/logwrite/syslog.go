package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/lkx-os/lkx/components/internal/backoff"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// syslog is a server that takes messages (RFC 5424).
type syslog struct {
	log      *log.Logger
	network  string // "udp" or "tcp"
	address  string
	conn     net.Conn // nil while there is none
	hostname string
}

func newSyslog(logger *log.Logger, where string) (*syslog, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "udp" && u.Scheme != "tcp" || u.Port() == "" || u.Path != "" {
		return nil, fmt.Errorf("-syslog %q is neither udp://HOST:PORT nor tcp://HOST:PORT", where)
	}
	return &syslog{log: logger, network: u.Scheme, address: u.Host}, nil
}

// sending is how long the server may take for one message.
const sending = 10 * time.Second

// write sends an entry, however long it takes until the server is there.
func (s *syslog) write(ctx context.Context, e memlog.Entry) error {
	var pause backoff.Backoff
	for failing := false; ; failing = true {
		err := s.once(ctx, e)
		if err == nil {
			if failing {
				s.log.Printf("sending to %s://%s again", s.network, s.address)
			}
			return nil
		}
		wait := pause.Next(0)
		if !failing {
			s.log.Printf("%v; trying until it works", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// once connects if there is no connection, and sends an entry.
func (s *syslog) once(ctx context.Context, e memlog.Entry) error {
	if s.conn == nil {
		conn, err := (&net.Dialer{Timeout: sending}).DialContext(ctx, s.network, s.address)
		if err != nil {
			return fmt.Errorf("connecting to the syslog server: %w", err)
		}
		s.conn = conn
		if s.hostname, err = os.Hostname(); err != nil {
			s.hostname = "-"
		}
	}
	text := message(e, s.hostname)
	if s.network == "tcp" {
		text = fmt.Sprintf("%d %s", len(text), text) // octet counting (RFC 6587, 3.4.1)
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(sending)) // the write tells
	if _, err := s.conn.Write([]byte(text)); err != nil {
		s.close()
		return fmt.Errorf("sending to the syslog server: %w", err)
	}
	return nil
}

func (s *syslog) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// Priorities (RFC 5424, 6.2.1): facility 3, a daemon; severities 5 and 6.
const (
	daemonNotice = 3*8 + 5
	daemonInfo   = 3*8 + 6
)

// message is an entry as RFC 5424, 6 has it. The name of the source is the
// application's, and what it wrote to standard output is less important.
func message(e memlog.Entry, hostname string) string {
	name, priority := e.Source, daemonNotice
	if rest, ok := strings.CutSuffix(name, ".out"); ok {
		name, priority = rest, daemonInfo
	}
	return fmt.Sprintf("<%d>1 %s %s %s - - - %s", priority, e.Time.Format("2006-01-02T15:04:05.000000Z07:00"),
		word(hostname, 255), word(name, 48), e.Msg)
}

// word is text as a field of a message: printable, without blanks, not too long.
func word(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), most)]
}
