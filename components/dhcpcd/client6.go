package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// client6 gets by DHCPv6 what a router says that there is (RFC 8415).
type client6 struct {
	mac  net.HardwareAddr
	wire wire6
	now  func() time.Duration // the boot's clock
	has  *lease6              // nil for nothing
	// set configures the interface for a lease instead of another; either may be nil.
	set  func(was, is *lease6) error
	note func(error) // tells what is in the way
}

// wire6 carries messages. What comes need not be for us.
type wire6 struct {
	send func(*dhcpv6.Message) error // to all servers
	in   <-chan *dhcpv6.Message
}

// lease6 is what a DHCPv6 server says; without an address if that is not asked for.
type lease6 struct {
	config
	server        dhcpv6.DUID
	Renew, Rebind time.Duration
}

// times of retransmission: RFC 8415 section 7.6.
type times struct{ first, most time.Duration }

var (
	solicitTimes = times{time.Second, time.Hour}
	requestTimes = times{time.Second, 30 * time.Second}
	renewTimes   = times{10 * time.Second, 10 * time.Minute}
	informTimes  = times{time.Second, time.Hour}
)

// requesting is how long a server may take for what it advertised: 10 requests.
const requesting = 3 * time.Minute

// errNoAddress says that a server has nothing for us.
var errNoAddress = errors.New("the server has no address for us")

// run keeps the interface configured until ctx is done, or with once until it
// is configured: with an address, or else with name servers and the like alone.
func (c *client6) run(ctx context.Context, managed, once bool) error {
	for {
		get := c.inform
		if managed {
			get = c.acquire
		}
		l, err := get(ctx)
		if err != nil {
			return err
		}
		if err := c.become(l); err != nil || once {
			return err
		}
		if managed {
			err = c.hold(ctx)
		} else {
			err = sleep(ctx, l.Renew-c.now())
		}
		if err != nil {
			return err
		}
	}
}

func (c *client6) become(l *lease6) error {
	was := c.has
	c.has = l
	return c.set(was, l)
}

// acquire gets an address: from the first server that advertises one.
func (c *client6) acquire(ctx context.Context) (*lease6, error) {
	for {
		m, err := c.message(dhcpv6.MessageTypeSolicit, &dhcpv6.OptIANA{IaId: c.identity()})
		if err != nil {
			return nil, err
		}
		offer, err := c.exchange(ctx, m, forever, solicitTimes, dhcpv6.MessageTypeAdvertise)
		if err != nil {
			return nil, err
		}
		if _, err = c.lease(offer); err != nil {
			c.note(err)
			if err := sleep(ctx, requestTimes.most); err != nil {
				return nil, err
			}
			continue
		}
		r, err := c.message(dhcpv6.MessageTypeRequest, dhcpv6.OptServerID(offer.Options.ServerID()), offer.Options.OneIANA())
		if err != nil {
			return nil, err
		}
		answer, err := c.exchange(ctx, r, c.now()+requesting, requestTimes, dhcpv6.MessageTypeReply)
		if err == nil {
			l, err := c.lease(answer)
			if err == nil {
				return l, nil
			}
			c.note(err)
		} else if !errors.Is(err, errSilence) {
			return nil, err
		}
		if err := sleep(ctx, requestTimes.first); err != nil {
			return nil, err
		}
	}
}

// hold renews the address until it is lost, which is no error, or ctx is done.
func (c *client6) hold(ctx context.Context) error {
	for {
		if err := sleep(ctx, c.has.Renew-c.now()); err != nil {
			return err
		}
		l, err := c.renew(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.note(fmt.Errorf("%v is not renewed: %w", c.has.Address.Addr(), err))
			return c.become(nil)
		}
		if err := c.become(l); err != nil {
			return err
		}
	}
}

// renew asks the server of the lease, then all.
func (c *client6) renew(ctx context.Context) (*lease6, error) {
	ia := &dhcpv6.OptIANA{IaId: c.identity()}
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: c.has.Address.Addr().AsSlice()})
	m, err := c.message(dhcpv6.MessageTypeRenew, dhcpv6.OptServerID(c.has.server), ia)
	if err != nil {
		return nil, err
	}
	answer, err := c.exchange(ctx, m, c.has.Rebind, renewTimes, dhcpv6.MessageTypeReply)
	if errors.Is(err, errSilence) {
		if m, err = c.message(dhcpv6.MessageTypeRebind, ia); err == nil {
			answer, err = c.exchange(ctx, m, c.has.Expire, renewTimes, dhcpv6.MessageTypeReply)
		}
	}
	if err != nil {
		return nil, err
	}
	return c.lease(answer)
}

// inform gets what there is besides addresses.
func (c *client6) inform(ctx context.Context) (*lease6, error) {
	m, err := c.message(dhcpv6.MessageTypeInformationRequest)
	if err != nil {
		return nil, err
	}
	m.UpdateOption(dhcpv6.OptRequestedOption(append(wanted(), dhcpv6.OptionInformationRefreshTime)...))
	answer, err := c.exchange(ctx, m, forever, informTimes, dhcpv6.MessageTypeReply)
	if err != nil {
		return nil, err
	}
	l := c.other(answer)
	refresh := answer.Options.InformationRefreshTime(24 * time.Hour) // RFC 8415 section 7.6
	l.Renew = c.now() + max(refresh, 10*time.Minute)
	return l, nil
}

// other is what a server says besides addresses.
func (c *client6) other(m *dhcpv6.Message) *lease6 {
	l := &lease6{server: m.Options.ServerID(), Rebind: forever}
	l.Preferred, l.Expire = forever, forever
	l.DNS, l.NTP = addresses(m.Options.DNS()), addresses(append(m.Options.NTPServers(), m.Options.SNTP()...))
	if list := m.Options.DomainSearchList(); list != nil {
		l.Search = domains(list.Labels...)
	}
	return l
}

// lease is what a server's answer grants.
func (c *client6) lease(m *dhcpv6.Message) (*lease6, error) {
	l := c.other(m)
	ia := m.Options.OneIANA()
	var addr *dhcpv6.OptIAAddress
	if ia != nil {
		addr = ia.Options.OneAddress()
	}
	if addr == nil || addr.ValidLifetime == 0 {
		err := errNoAddress
		for _, status := range []*dhcpv6.OptStatusCode{m.Options.Status(), statusOf(ia)} {
			if status != nil && status.StatusCode != iana.StatusSuccess {
				err = fmt.Errorf("%w: %v %s", err, status.StatusCode, status.StatusMessage)
			}
		}
		return nil, err
	}
	ip, ok := netip.AddrFromSlice(addr.IPv6Addr)
	if !ok {
		return nil, errNoAddress
	}
	// What else is on the link, routers say.
	l.Address = netip.PrefixFrom(ip, 128)
	now := c.now()
	at := func(d time.Duration) time.Duration {
		if d >= infinite {
			return forever
		}
		return now + d
	}
	l.Preferred, l.Expire = at(addr.PreferredLifetime), at(addr.ValidLifetime)
	t1, t2 := ia.T1, ia.T2 // 0 leaves them to us: RFC 8415 section 21.4
	if t1 == 0 || t2 == 0 || t1 > t2 {
		length := cmp.Or(addr.PreferredLifetime, addr.ValidLifetime)
		t1, t2 = length/2, length*8/10
	}
	l.Renew, l.Rebind = at(max(t1, time.Second)), at(min(t2, addr.ValidLifetime))
	return l, nil
}

func statusOf(ia *dhcpv6.OptIANA) *dhcpv6.OptStatusCode {
	if ia == nil {
		return nil
	}
	return ia.Options.Status()
}

// identity is that of the address that we ask for; there is one for each interface.
func (c *client6) identity() [4]byte { return [4]byte(c.mac[len(c.mac)-4:]) }

func wanted() []dhcpv6.OptionCode {
	return []dhcpv6.OptionCode{
		dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionNTPServer, dhcpv6.OptionSNTPServerList,
	}
}

// message begins a message, with what every one says. The client is named after
// its hardware, and so is the same after every boot.
func (c *client6) message(kind dhcpv6.MessageType, options ...dhcpv6.Option) (*dhcpv6.Message, error) {
	m, err := dhcpv6.NewMessage()
	if err != nil {
		return nil, err
	}
	m.MessageType = kind
	m.AddOption(dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: c.mac}))
	m.AddOption(dhcpv6.OptRequestedOption(wanted()...))
	for _, o := range options {
		m.AddOption(o)
	}
	return m, nil
}

// exchange sends m until there is the answer that is wanted, or until the time
// end, which is errSilence: RFC 8415 section 15.
func (c *client6) exchange(ctx context.Context, m *dhcpv6.Message, end time.Duration, t times, want dhcpv6.MessageType) (*dhcpv6.Message, error) {
	began := c.now()
	for pause := t.first; ; pause = min(2*pause, t.most) {
		left := end - c.now()
		if left <= 0 {
			return nil, errSilence
		}
		m.UpdateOption(dhcpv6.OptElapsedTime(min(c.now()-began, (1<<16-1)*10*time.Millisecond)))
		if err := c.wire.send(m); err != nil {
			c.note(fmt.Errorf("sending: %w", err)) // the interface's own address may not be ready
		}
		jitter := rand.N(pause/5) - pause/10
		again := time.NewTimer(min(pause+jitter, left))
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
				if c.answers(answer, m) && answer.Type() == want {
					again.Stop()
					return answer, nil
				}
			}
		}
	}
}

// answers tells whether a is an answer to m: RFC 8415 section 16.
func (c *client6) answers(a, m *dhcpv6.Message) bool {
	id, server := a.Options.ClientID(), a.Options.ServerID()
	if a.TransactionID != m.TransactionID || id == nil || server == nil || !slices.Equal(id.ToBytes(), m.Options.ClientID().ToBytes()) {
		return false
	}
	chosen := m.Options.ServerID()
	return chosen == nil || slices.Equal(chosen.ToBytes(), server.ToBytes())
}

// openWire6 opens an interface for DHCPv6. It ends with ctx.
func openWire6(ctx context.Context, link string) (wire6, error) {
	conn, err := listen(ctx, "udp6", fmt.Sprintf("[::]:%d", dhcpv6.DefaultClientPort), link)
	if err != nil {
		return wire6{}, fmt.Errorf("opening a socket for DHCPv6: %w", err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	in := make(chan *dhcpv6.Message, 16)
	go receive(ctx, conn, in, dhcpv6.MessageFromBytes)
	servers := &net.UDPAddr{IP: dhcpv6.AllDHCPRelayAgentsAndServers, Port: dhcpv6.DefaultServerPort, Zone: link}
	return wire6{in: in, send: func(m *dhcpv6.Message) error {
		_, err := conn.WriteTo(m.ToBytes(), servers)
		return err
	}}, nil
}
