package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// lab6 is a network with a DHCPv6 server, in a time of its own.
type lab6 struct {
	*client6
	began time.Time
	log   []string
	reply func(m *dhcpv6.Message) *dhcpv6.Message
}

func newLab6() *lab6 {
	l := &lab6{began: time.Now()}
	in := make(chan *dhcpv6.Message, 16)
	say := func(format string, args ...any) {
		l.log = append(l.log, fmt.Sprintf("%.0f %s", l.now().Truncate(10*time.Second).Seconds(), fmt.Sprintf(format, args...)))
	}
	l.client6 = &client6{
		mac: labMAC, now: func() time.Duration { return time.Since(l.began) },
		wire: wire6{in: in, send: func(m *dhcpv6.Message) error {
			say("%v", m.MessageType)
			if a := l.reply(m); a != nil {
				in <- a
			}
			return nil
		}},
		set: func(_, is *lease6) error {
			if is == nil {
				say("none")
			} else {
				say("%v", &is.config)
			}
			return nil
		},
		note: func(err error) { say("! %v", err) },
	}
	return l
}

func (l *lab6) during(t *testing.T, d time.Duration, managed bool, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := l.run(ctx, managed, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
	if !slices.Equal(l.log, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(l.log, "\n"), strings.Join(want, "\n"))
	}
}

// serve is a DHCPv6 server's answer.
func serve(m *dhcpv6.Message, more ...dhcpv6.Modifier) *dhcpv6.Message {
	more = append([]dhcpv6.Modifier{
		dhcpv6.WithServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}),
		dhcpv6.WithDNS(net.ParseIP("2001:db8::53")), dhcpv6.WithDomainSearchList("six.example"),
	}, more...)
	answer := dhcpv6.NewReplyFromMessage
	if m.MessageType == dhcpv6.MessageTypeSolicit {
		answer = dhcpv6.NewAdvertiseFromSolicit
	}
	a, err := answer(m, more...)
	if err != nil {
		panic(err) // of a message that is none of a client's
	}
	return a
}

// leases is a server that has one address, for 1000 s.
func leases(m *dhcpv6.Message) *dhcpv6.Message {
	return serve(m, dhcpv6.WithIANA(dhcpv6.OptIAAddress{
		IPv6Addr: net.ParseIP("2001:db8::5"), PreferredLifetime: 500 * time.Second, ValidLifetime: 1000 * time.Second,
	}))
}

const gets6 = " 2001:db8::5/128 dns 2001:db8::53"

func TestManaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab6()
		l.reply = func(m *dhcpv6.Message) *dhcpv6.Message {
			named := m.Options.ServerID() != nil
			if wants := m.MessageType == dhcpv6.MessageTypeRequest || m.MessageType == dhcpv6.MessageTypeRenew; named != wants {
				t.Errorf("%v names a server: %t", m.MessageType, named)
			}
			return leases(m)
		}
		l.during(t, 300*time.Second, true, "0 SOLICIT", "0 REQUEST", "0"+gets6, "250 RENEW", "250"+gets6)
		if l.has.Preferred != 750*time.Second || l.has.Expire != 1250*time.Second || l.has.Rebind != 650*time.Second {
			t.Errorf("got %+v", l.has)
		}
	})
}

// TestRebind6 has the server vanish: another one has nothing for us.
func TestRebind6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab6()
		gone := false
		l.reply = func(m *dhcpv6.Message) *dhcpv6.Message {
			switch {
			case m.MessageType == dhcpv6.MessageTypeRenew:
				return nil
			case gone || m.MessageType == dhcpv6.MessageTypeRebind:
				gone = true
				return serve(m, dhcpv6.WithOption(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail, StatusMessage: "full"}))
			}
			return leases(m)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 402*time.Second)
		defer cancel()
		if err := l.run(ctx, true, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		l.log = slices.DeleteFunc(l.log, func(s string) bool { return strings.HasSuffix(s, " RENEW") })
		want := []string{
			"0 SOLICIT", "0 REQUEST", "0" + gets6, "400 REBIND",
			"400 ! 2001:db8::5 is not renewed: the server has no address for us: NoAddrsAvail full", "400 none",
			"400 SOLICIT", "400 ! the server has no address for us: NoAddrsAvail full",
		}
		if !slices.Equal(l.log, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(l.log, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestInform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab6()
		l.reply = func(m *dhcpv6.Message) *dhcpv6.Message {
			if m.Options.OneIANA() != nil {
				t.Error("an address is asked for")
			}
			foreign := serve(m)
			foreign.TransactionID[0]++
			if l.now() < 5*time.Second {
				return foreign
			}
			return serve(m, dhcpv6.WithInformationRefreshTime(time.Hour))
		}
		l.during(t, 3650*time.Second, false, "0 INFORMATION-REQUEST", "0 INFORMATION-REQUEST", "0 INFORMATION-REQUEST", "0 INFORMATION-REQUEST",
			"0 dns 2001:db8::53", "3600 INFORMATION-REQUEST", "3600 dns 2001:db8::53")
	})
}

func TestAdvert(t *testing.T) {
	text := []byte{
		134, 0, 0, 0, 64, 0xc0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, // managed, other; 1800 s
		3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		25, 3, 0, 0, 0, 0, 1, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
		31, 3, 0, 0, 0, 0, 1, 0, 1, 'a', 2, 'b', 'c', 0, 1, 'd', 0, 0, 0, 0, 0, 0, 0, 0,
		99, 1, 0, 0, 0, 0, 0, 0, // nobody knows this one
	}
	a, err := parseAdvert(text)
	if err != nil {
		t.Fatal(err)
	}
	want := &advert{Managed: true, Other: true, Auto: true, Lifetime: 30 * time.Minute, DNS: []netip.Addr{netip.MustParseAddr("fe80::53")}, Search: []string{"a.bc", "d"}}
	if !a.same(want) || a.Lifetime != want.Lifetime {
		t.Errorf("got %+v", a)
	}
	if got := (session{name: "eth0"}).zoned(a.DNS); got[0].String() != "fe80::53%eth0" {
		t.Errorf("the name server is %v", got)
	}
	for n := range len(text) {
		if _, err := parseAdvert(text[:n]); err == nil && n != 16 && n != 48 && n != 72 && n != 96 {
			t.Errorf("no error for %d bytes", n)
		}
	}
	for _, spoil := range []func([]byte){func(b []byte) { b[0] = 133 }, func(b []byte) { b[17] = 0 }} {
		b := slices.Clone(text)
		spoil(b)
		if _, err := parseAdvert(b); err == nil {
			t.Errorf("no error for %v", b)
		}
	}
	if got := labels([]byte{200, 'a', 0}); got != nil {
		t.Errorf("labels past the end are %q", got)
	}
}

func TestAskPause(t *testing.T) {
	for n, want := range map[int]time.Duration{0: time.Second, 2: time.Second, 3: 2 * time.Second, 5: 8 * time.Second, 14: time.Hour, 1000: time.Hour} {
		if got := askPause(n); got != want {
			t.Errorf("after %d times %v, want %v", n, got, want)
		}
	}
}
