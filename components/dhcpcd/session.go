package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lkx-os/lkx/components/internal/backoff"
)

// Families of addresses.
const (
	v4 = 4
	v6 = 6
)

// event is what a session has to tell.
type event struct {
	index   int     // of the interface
	family  int     // v4 or v6
	got     *config // nil for nothing
	settled bool    // there is nothing more to wait for
	said    string  // for the console
	problem error   // what is in the way, alone
}

// session keeps one interface configured while it has a link.
type session struct {
	name  string
	index int
	mac   net.HardwareAddr
	once  bool
	sys   system
	state state
	tell  func(event) // never after the session's context is done
}

// keep runs one family's part of the session, again whenever it fails.
func (s session) keep(ctx context.Context, family int, run func(context.Context) error) {
	var pause backoff.Backoff
	for began := s.sys.now(); ctx.Err() == nil; began = s.sys.now() {
		attempt, cancel := context.WithCancel(ctx)
		err := run(attempt)
		cancel()
		if err == nil {
			return // all is done
		}
		if ctx.Err() == nil {
			s.note(family, err)
		}
		if sleep(ctx, pause.Next(s.sys.now()-began)) != nil {
			return
		}
	}
}

func (s session) note(family int, err error) {
	s.tell(event{index: s.index, family: family, problem: err})
}

// run4 is the session's DHCPv4.
func (s session) run4(ctx context.Context) error {
	has, err := s.state.load(s.name, s.sys.now())
	if err != nil {
		s.note(v4, err) // then a new one is as good
	}
	wire, err := openWire4(ctx, s.name)
	if err != nil {
		return err
	}
	host, _ := os.Hostname() // without one, servers are told none
	if host == "(none)" {
		host = ""
	}
	c := client4{
		mac: s.mac, host: host, wire: wire, now: s.sys.now, has: has,
		note: func(err error) { s.note(v4, err) },
		set: func(was, is *lease) error {
			if err := s.sys.set(s.name, was.conf(), is.conf()); err != nil {
				return err
			}
			e := event{index: s.index, family: v4, got: is.conf(), settled: is != nil}
			if is != nil {
				e.said = is.String()
			}
			s.tell(e)
			return s.state.save(s.name, is)
		},
	}
	return c.run(ctx, s.once)
}

func (l *lease) conf() *config {
	if l == nil {
		return nil
	}
	return &l.config
}

func (l *lease6) conf() *config {
	if l == nil {
		return nil
	}
	return &l.config
}

// Routers answer in half a second (RFC 4861 section 6.2.6), and so nothing waits
// for one that does not after it was asked so often. Then it is asked less and
// less often (RFC 7559).
const (
	asking   = 2
	askAgain = time.Second
	askMost  = time.Hour
)

// askPause is the time between the last and the next of n times.
func askPause(n int) time.Duration { return min(askAgain<<max(min(n, 20)-asking, 0), askMost) }

// run6 does what routers say.
func (s session) run6(ctx context.Context) error {
	accepted, err := acceptAdverts(s.name)
	if err != nil {
		s.note(v6, fmt.Errorf("having the kernel hear routers: %w", err))
	}
	if !accepted {
		s.tell(event{index: s.index, family: v6, settled: true})
		return nil
	}
	adverts, ask, err := openRouters(ctx, s.name)
	if err != nil {
		return err
	}
	var last *advert
	stop := func() {}
	defer func() { stop() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for asked := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			if last != nil {
				continue
			}
			if asked == asking {
				s.tell(event{index: s.index, family: v6, settled: true})
			}
			if ask() == nil { // else the interface's own address may not be ready
				asked++
			}
			timer.Reset(askPause(asked))
		case a, more := <-adverts:
			if !more {
				return errors.New("routers cannot be heard any more")
			}
			if a.same(last) {
				continue
			}
			last = a
			stop()
			stop = s.follow(ctx, a)
		}
	}
}

// follow does in the background what a router says, until it is stopped.
func (s session) follow(ctx context.Context, a *advert) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keep(ctx, v6, func(ctx context.Context) error { return s.obey(ctx, a) })
	}()
	return func() { cancel(); <-done }
}

// patience is how long addresses and DHCPv6 servers may take when somebody waits.
const patience = 10 * time.Second

// obey does what a router says.
func (s session) obey(ctx context.Context, a *advert) error {
	said := &config{DNS: s.zoned(a.DNS), Search: a.Search}
	if a.Auto {
		if err := s.await(ctx, netip.Addr{}); err != nil {
			return err
		}
	}
	if !a.Managed && !a.Other {
		s.tell(s.event6(a, said))
		return nil
	}
	wire, err := openWire6(ctx, s.name)
	if err != nil {
		return err
	}
	c := client6{
		mac: s.mac, wire: wire, now: s.sys.now, note: func(err error) { s.note(v6, err) },
		set: func(was, is *lease6) error {
			if err := s.sys.set(s.name, was.conf(), is.conf()); err != nil {
				return err
			}
			if is != nil && is.Address.IsValid() {
				if err := s.await(ctx, is.Address.Addr()); err != nil {
					return err
				}
			}
			s.tell(s.event6(a, said.with(is.conf())))
			return nil
		},
	}
	if !s.once {
		return c.run(ctx, a.Managed, false)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = c.run(limited, a.Managed, true)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		s.note(v6, fmt.Errorf("router %v says that there is DHCPv6, but no server answers", a.Router))
		s.tell(s.event6(a, said))
		return nil
	}
	return err
}

// with is c and what other says besides.
func (c *config) with(other *config) *config {
	if other == nil {
		return c
	}
	return &config{
		DNS: append(other.DNS, c.DNS...), Search: append(other.Search, c.Search...), NTP: other.NTP,
		Address: other.Address,
	}
}

// zoned adds the interface to addresses that mean nothing without.
func (s session) zoned(list []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		if a.IsLinkLocalUnicast() {
			a = a.WithZone(s.name)
		}
		out = append(out, a)
	}
	return out
}

// await waits for the kernel to have an address that can be used: any, if that
// is not valid.
func (s session) await(ctx context.Context, addr netip.Addr) error {
	ready := func(p netip.Prefix) bool { return !addr.IsValid() || p.Addr() == addr }
	for end := s.sys.now() + patience; s.sys.now() < end; {
		if list, err := global(s.name); err != nil || slices.ContainsFunc(list, ready) {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil // then there is none, and that is what is said
}

// event6 is what there is after a router was obeyed.
func (s session) event6(a *advert, c *config) event {
	e := event{index: s.index, family: v6, got: c, settled: true}
	list, err := global(s.name)
	if err != nil || len(list) == 0 {
		e.got = nil
		return e
	}
	e.said = join(list)
	if a.Lifetime > 0 {
		e.said += " gateway " + a.Router.String()
	}
	if rest := (&config{DNS: c.DNS, NTP: c.NTP}).String(); rest != "" {
		e.said += " " + strings.TrimSpace(rest)
	}
	return e
}
