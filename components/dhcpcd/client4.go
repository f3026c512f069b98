package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/lkx-os/lkx/components/internal/backoff"
)

// client4 gets and keeps a lease for one interface: the states of RFC 2131
// figure 5.
type client4 struct {
	mac  net.HardwareAddr
	host string // name to tell servers; "" for none
	wire wire4
	now  func() time.Duration // the boot's clock
	has  *lease               // what the interface is configured with; nil for nothing
	// set configures the interface for a lease instead of another; either may be nil.
	set func(was, is *lease) error
	// note tells what is in the way.
	note func(error)
}

// wire4 carries messages. What comes need not be for us.
type wire4 struct {
	send func(m *dhcpv4.DHCPv4, to netip.Addr) error // to all, if to is invalid
	in   <-chan *dhcpv4.DHCPv4
}

// Errors of exchanges.
var (
	errSilence = errors.New("no server answers")
	errNoOffer = errors.New("no server offers an address")
)

// refusal is a server's DHCPNAK.
type refusal struct {
	server net.IP
	addr   netip.Addr
	why    string
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("server %v refuses %v", r.server, r.addr)
	if r.why != "" {
		s += fmt.Sprintf(": %q", r.why)
	}
	return s
}

// run keeps the interface configured until ctx is done, or with once until it
// is configured. What it has then stays.
func (c *client4) run(ctx context.Context, once bool) error {
	var refused backoff.Backoff
	for {
		l, err := c.acquire(ctx)
		var nak *refusal
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &nak): // of what was just offered
			c.note(err)
			if err := sleep(ctx, refused.Next(0)); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if err := c.become(l); err != nil {
			return err
		}
		if once {
			return nil
		}
		if err := c.hold(ctx); err != nil {
			return err
		}
	}
}

// become configures the interface for l, or for nothing.
func (c *client4) become(l *lease) error {
	was := c.has
	c.has = l
	return c.set(was, l)
}

// acquire gets a lease: the one that there is (INIT-REBOOT), or a new one. One
// that there is stays in use as long as nobody objects and its time lasts.
func (c *client4) acquire(ctx context.Context) (*lease, error) {
	if c.has != nil {
		l, err := c.confirm(ctx)
		var nak *refusal
		switch {
		case err == nil || ctx.Err() != nil:
			return l, err
		case errors.As(err, &nak):
			c.note(err)
			if err := c.become(nil); err != nil {
				return nil, err
			}
		case !errors.Is(err, errSilence):
			return nil, err
		}
	}
	for {
		end := forever
		if c.has != nil {
			end = c.has.Expire
		}
		l, err := c.discover(ctx, end)
		if !errors.Is(err, errNoOffer) || c.has == nil {
			return l, err
		}
		c.note(fmt.Errorf("the lease of %v has ended", c.has.Address.Addr()))
		if err := c.become(nil); err != nil {
			return nil, err
		}
	}
}

// confirming is how long servers may take to confirm a lease that there is.
const confirming = 10 * time.Second

// confirm asks whether the lease is still good on this network.
func (c *client4) confirm(ctx context.Context) (*lease, error) {
	m, err := c.message(dhcpv4.MessageTypeRequest)
	if err != nil {
		return nil, err
	}
	m.UpdateOption(dhcpv4.OptRequestedIPAddress(c.has.Address.Addr().AsSlice()))
	return c.request(ctx, m, netip.Addr{}, min(c.now()+confirming, c.has.Expire), backOff)
}

// trying is how long a server may take to confirm what it offered.
const trying = 30 * time.Second

// discover gets a new lease from the first server that offers one before end.
func (c *client4) discover(ctx context.Context, end time.Duration) (*lease, error) {
	m, err := c.message(dhcpv4.MessageTypeDiscover)
	if err != nil {
		return nil, err
	}
	for {
		offer, err := c.exchange(ctx, m, netip.Addr{}, end, backOff, dhcpv4.MessageTypeOffer)
		if errors.Is(err, errSilence) {
			return nil, errNoOffer
		}
		if err != nil {
			return nil, err
		}
		r, err := c.message(dhcpv4.MessageTypeRequest)
		if err != nil {
			return nil, err
		}
		r.TransactionID = offer.TransactionID // RFC 2131 section 4.4.1
		r.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))
		r.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
		l, err := c.request(ctx, r, netip.Addr{}, min(c.now()+trying, end), backOff)
		if !errors.Is(err, errSilence) {
			return l, err
		}
		c.note(fmt.Errorf("server %v offers %v, and then says no more", offer.ServerIdentifier(), offer.YourIPAddr))
	}
}

// hold renews the lease until it is lost, which is no error, or ctx is done.
func (c *client4) hold(ctx context.Context) error {
	for {
		if err := sleep(ctx, c.has.Renew-c.now()); err != nil {
			return err
		}
		l, err := c.renew(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var nak *refusal
		switch {
		case errors.Is(err, errSilence):
			c.note(fmt.Errorf("the lease of %v has ended: no server renewed it", c.has.Address.Addr()))
			return c.become(nil)
		case errors.As(err, &nak):
			c.note(err)
			return c.become(nil)
		case err != nil:
			return err
		}
		if err := c.become(l); err != nil {
			return err
		}
	}
}

// renew asks the lease's server (RENEWING), then all (REBINDING).
func (c *client4) renew(ctx context.Context) (*lease, error) {
	m, err := c.message(dhcpv4.MessageTypeRequest)
	if err != nil {
		return nil, err
	}
	m.ClientIPAddr = c.has.Address.Addr().AsSlice()
	l, err := c.request(ctx, m, c.has.Server, c.has.Rebind, halfOf)
	if errors.Is(err, errSilence) {
		c.note(fmt.Errorf("server %v does not renew the lease of %v; asking all", c.has.Server, c.has.Address.Addr()))
		l, err = c.request(ctx, m, netip.Addr{}, c.has.Expire, halfOf)
	}
	return l, err
}

// request sends a DHCPREQUEST and is the lease that a server grants; a refusal
// is an error.
func (c *client4) request(ctx context.Context, m *dhcpv4.DHCPv4, to netip.Addr, end time.Duration, pause pauses) (*lease, error) {
	began := c.now() // the lease's time begins with the request: RFC 2131 section 4.4.1
	answer, err := c.exchange(ctx, m, to, end, pause, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)
	if err != nil {
		return nil, err
	}
	if answer.MessageType() == dhcpv4.MessageTypeNak {
		addr, _ := netip.AddrFromSlice(cmpIP(m.RequestedIPAddress(), m.ClientIPAddr).To4())
		return nil, &refusal{answer.ServerIdentifier(), addr, answer.Message()}
	}
	return newLease(answer, began)
}

// cmpIP is the first of two addresses that is one.
func cmpIP(a, b net.IP) net.IP {
	if a != nil && !a.IsUnspecified() {
		return a
	}
	return b
}

func (c *client4) message(kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	return message(c.mac, c.host, kind)
}

// exchange sends m until there is an answer of one of the kinds that are wanted,
// or until the time end, which is errSilence.
func (c *client4) exchange(ctx context.Context, m *dhcpv4.DHCPv4, to netip.Addr, end time.Duration, pause pauses, want ...dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	began := c.now()
	for n := 0; ; n++ {
		left := end - c.now()
		if left <= 0 {
			return nil, errSilence
		}
		m.NumSeconds = uint16(min((c.now()-began)/time.Second, 1<<16-1))
		if err := c.wire.send(m, to); err != nil {
			c.note(fmt.Errorf("sending: %w", err)) // the link may come back
		}
		again := time.NewTimer(min(pause(n, left), left))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				again.Stop()
				return nil, ctx.Err()
			case <-again.C:
				waiting = false
			case answer, more := <-c.wire.in:
				if !more {
					return nil, errors.New("the interface cannot be read any more")
				}
				if answers(answer, m) && slices.Contains(want, answer.MessageType()) {
					again.Stop()
					return answer, nil
				}
			}
		}
	}
}

// answers tells whether a is an answer to m, from the server that m is for.
func answers(a, m *dhcpv4.DHCPv4) bool {
	if a.OpCode != dhcpv4.OpcodeBootReply || a.TransactionID != m.TransactionID || a.ClientHWAddr.String() != m.ClientHWAddr.String() {
		return false
	}
	server := a.ServerIdentifier()
	if a.MessageType() == dhcpv4.MessageTypeOffer && (server == nil || a.YourIPAddr == nil || a.YourIPAddr.IsUnspecified()) {
		return false
	}
	chosen := m.ServerIdentifier()
	return chosen == nil || chosen.Equal(server)
}

// pauses is the time until the n-th message, from 0, is sent again, if left is
// the time that is left.
type pauses func(n int, left time.Duration) time.Duration

// backOff is 4 s, doubled up to 64 s, one more or less: RFC 2131 section 4.1.
func backOff(n int, _ time.Duration) time.Duration {
	return time.Duration(4<<min(n, 4))*time.Second + rand.N(2*time.Second) - time.Second
}

// halfOf is half of what is left, and a minute at least: RFC 2131 section 4.4.5.
func halfOf(_ int, left time.Duration) time.Duration { return max(left/2, time.Minute) }

// sleep waits for a time; that ctx is done is an error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
