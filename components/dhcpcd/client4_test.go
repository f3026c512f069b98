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

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// lab is a network with a server, as a client sees it, in a time of its own.
type lab struct {
	*client4
	began time.Time
	log   []string // what was sent, set and noted, with the seconds since the begin
	// reply is what the server says to m; nil for nothing.
	reply func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4
}

var (
	labMAC    = net.HardwareAddr{2, 0, 0, 0, 0, 7}
	labServer = netip.MustParseAddr("10.0.0.1")
)

func newLab() *lab {
	l := &lab{began: time.Now()}
	in := make(chan *dhcpv4.DHCPv4, 16)
	l.client4 = &client4{
		mac: labMAC, host: "guest", now: func() time.Duration { return time.Since(l.began) },
		wire: wire4{in: in, send: func(m *dhcpv4.DHCPv4, to netip.Addr) error {
			whom := "all"
			if to.IsValid() {
				whom = to.String()
			}
			l.say("%v to %s", m.MessageType(), whom)
			if a := l.reply(m, to); a != nil {
				in <- a
			}
			return nil
		}},
		set: func(_, is *lease) error {
			if is == nil {
				l.say("none")
			} else {
				l.say("%v", is)
			}
			return nil
		},
		note: func(err error) { l.say("! %v", err) },
	}
	return l
}

func (l *lab) say(format string, args ...any) {
	l.log = append(l.log, fmt.Sprintf("%4.0f %s", l.now().Seconds(), fmt.Sprintf(format, args...)))
}

// during runs the client for a time.
func (l *lab) during(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := l.run(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
}

// says compares the log, in which times may be some seconds off: pauses are random.
func (l *lab) says(t *testing.T, want ...string) {
	t.Helper()
	same := func(a, b string) bool {
		var x, y float64
		var restA, restB string
		fmt.Sscanf(a, "%f", &x)
		fmt.Sscanf(b, "%f", &y)
		_, restA, _ = strings.Cut(strings.TrimSpace(a), " ")
		_, restB, _ = strings.Cut(strings.TrimSpace(b), " ")
		return restA == restB && x-y <= 6 && y-x <= 6
	}
	if !slices.EqualFunc(l.log, want, same) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(l.log, "\n"), strings.Join(want, "\n"))
	}
}

// answerTo is a server's message.
func answerTo(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, addr string, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	a, err := dhcpv4.NewReplyFromRequest(m, append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.ParseIP(addr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(labServer.AsSlice())),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(800),
	}, more...)...)
	if err != nil {
		panic(err) // of random numbers alone
	}
	return a
}

// grants is a server that has one address, which it gives and prolongs.
func grants(m *dhcpv4.DHCPv4, _ netip.Addr) *dhcpv4.DHCPv4 {
	if m.MessageType() == dhcpv4.MessageTypeDiscover {
		return answerTo(m, dhcpv4.MessageTypeOffer, "10.0.0.5")
	}
	return answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.5")
}

func refuses(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	return answerTo(m, dhcpv4.MessageTypeNak, "0.0.0.0", dhcpv4.WithOption(dhcpv4.OptMessage("go away")))
}

const gets = " 10.0.0.5/24, lease 13m20s"

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
			if m.HostName() != "guest" || m.Options.Get(dhcpv4.OptionClientIdentifier) == nil {
				t.Error("the client does not say who it is")
			}
			renews := m.ClientIPAddr.String() == "10.0.0.5"
			if renews != (to == labServer) || renews && (m.RequestedIPAddress() != nil || m.ServerIdentifier() != nil) {
				t.Errorf("not as RFC 2131 table 4 has it, to %v: %v", to, m.Summary())
			}
			return grants(m, to)
		}
		l.during(t, 1000*time.Second)
		l.says(t, "0 DISCOVER to all", "0 REQUEST to all", "0"+gets, "400 REQUEST to 10.0.0.1", "400"+gets, "800 REQUEST to 10.0.0.1", "800"+gets)
	})
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = grants
		if err := l.run(t.Context(), true); err != nil {
			t.Error(err)
		}
		l.says(t, "0 DISCOVER to all", "0 REQUEST to all", "0"+gets)
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, _ netip.Addr) *dhcpv4.DHCPv4 {
			if want := l.now() / time.Second; time.Duration(m.NumSeconds) != want {
				t.Errorf("it says that %d seconds have gone, after %d", m.NumSeconds, want)
			}
			return nil
		}
		l.during(t, 200*time.Second)
		l.says(t, "0 DISCOVER to all", "4 DISCOVER to all", "12 DISCOVER to all", "28 DISCOVER to all", "60 DISCOVER to all", "124 DISCOVER to all", "188 DISCOVER to all")
	})
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeRequest {
				return refuses(m)
			}
			return grants(m, to)
		}
		l.during(t, 20*time.Second)
		if len(l.log) < 12 || len(l.log) > 3*9 {
			t.Errorf("%d lines: there should be some attempts, and not many", len(l.log))
		}
		if want := `0 ! server 10.0.0.1 refuses 10.0.0.5: "go away"`; strings.TrimSpace(l.log[2]) != want {
			t.Errorf("got %q", l.log[2])
		}
	})
}

// TestRebind has the server vanish, and another one take over.
func TestRebind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
			if to.IsValid() {
				return nil
			}
			return grants(m, to)
		}
		l.during(t, 750*time.Second)
		l.says(t, "0 DISCOVER to all", "0 REQUEST to all", "0"+gets,
			"400 REQUEST to 10.0.0.1", "550 REQUEST to 10.0.0.1", "625 REQUEST to 10.0.0.1", "685 REQUEST to 10.0.0.1",
			"700 ! server 10.0.0.1 does not renew the lease of 10.0.0.5; asking all", "700 REQUEST to all", "700"+gets)
	})
}

func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
			if l.now() > time.Second {
				return nil
			}
			return grants(m, to)
		}
		l.during(t, 801*time.Second)
		l.says(t, "0 DISCOVER to all", "0 REQUEST to all", "0"+gets,
			"400 REQUEST to 10.0.0.1", "550 REQUEST to 10.0.0.1", "625 REQUEST to 10.0.0.1", "685 REQUEST to 10.0.0.1",
			"700 ! server 10.0.0.1 does not renew the lease of 10.0.0.5; asking all", "700 REQUEST to all", "760 REQUEST to all",
			"800 ! the lease of 10.0.0.5 has ended: no server renewed it", "800 none", "800 DISCOVER to all")
	})
}

func TestRenewRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
			if to.IsValid() {
				return refuses(m)
			}
			return grants(m, to)
		}
		l.during(t, 401*time.Second)
		l.says(t, "0 DISCOVER to all", "0 REQUEST to all", "0"+gets, "400 REQUEST to 10.0.0.1",
			`400 ! server 10.0.0.1 refuses 10.0.0.5: "go away"`, "400 none", "400 DISCOVER to all", "400 REQUEST to all", "400"+gets)
	})
}

// kept is a lab with a lease of another process, which ends after a minute.
func kept() *lab {
	l := newLab()
	l.has = &lease{Server: labServer, Renew: 30 * time.Second, Rebind: 50 * time.Second}
	l.has.Address, l.has.Expire = netip.MustParsePrefix("10.0.0.9/24"), time.Minute
	return l
}

func TestReboot(t *testing.T) {
	for name, x := range map[string]struct {
		reply func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4
		want  []string
	}{
		"confirmed": {
			func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.9") },
			[]string{"0 REQUEST to all", "0 10.0.0.9/24, lease 13m20s"},
		},
		"refused": {
			func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				if m.RequestedIPAddress().String() == "10.0.0.9" {
					return refuses(m)
				}
				return grants(m, netip.Addr{})
			},
			[]string{"0 REQUEST to all", `0 ! server 10.0.0.1 refuses 10.0.0.9: "go away"`, "0 none", "0 DISCOVER to all", "0 REQUEST to all", "0" + gets},
		},
		"unknown": {
			func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				if m.RequestedIPAddress().String() == "10.0.0.9" {
					return nil
				}
				return grants(m, netip.Addr{})
			},
			[]string{"0 REQUEST to all", "4 REQUEST to all", "10 DISCOVER to all", "10 REQUEST to all", "10" + gets},
		},
		"nobody": {
			func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil },
			[]string{
				"0 REQUEST to all", "4 REQUEST to all", "10 DISCOVER to all", "14 DISCOVER to all", "22 DISCOVER to all", "38 DISCOVER to all",
				"60 ! the lease of 10.0.0.9 has ended", "60 none", "60 DISCOVER to all", "64 DISCOVER to all",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := kept()
				l.reply = func(m *dhcpv4.DHCPv4, _ netip.Addr) *dhcpv4.DHCPv4 {
					if m.MessageType() == dhcpv4.MessageTypeRequest && l.now() < time.Second && (m.ServerIdentifier() != nil) == (m.RequestedIPAddress().String() == "10.0.0.9") {
						t.Error("INIT-REBOOT names no server, and SELECTING does")
					}
					return x.reply(m)
				}
				l.during(t, 66*time.Second)
				l.says(t, x.want...)
			})
		})
	}
}

// TestForeign is a network on which others get what is not for us.
func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, spoil := range map[string]func(*dhcpv4.DHCPv4){
			"transaction": func(m *dhcpv4.DHCPv4) { m.TransactionID[0]++ },
			"hardware":    func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr{2, 0, 0, 0, 0, 8} },
			"request":     func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootRequest },
			"nameless":    func(m *dhcpv4.DHCPv4) { m.Options.Del(dhcpv4.OptionServerIdentifier) },
			"empty":       func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IPv4zero },
			"too early":   func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck)) },
		} {
			l := newLab()
			l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
				a := grants(m, to)
				spoil(a)
				return a
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := l.run(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, %q", name, err, l.log)
			}
			cancel()
		}
		// One server's refusal says nothing of another's offer.
		l := newLab()
		l.reply = func(m *dhcpv4.DHCPv4, to netip.Addr) *dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeRequest && l.now() < time.Second {
				a := refuses(m)
				a.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 2)))
				return a
			}
			return grants(m, to)
		}
		l.during(t, 10*time.Second)
		l.says(t, "0 DISCOVER to all", "0 REQUEST to all", "4 REQUEST to all", "4"+gets)
	})
}
