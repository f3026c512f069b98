package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestNewLease(t *testing.T) {
	m, err := message(labMAC, "", dhcpv4.MessageTypeRequest)
	if err != nil {
		t.Fatal(err)
	}
	full := answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.5",
		dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(10, 0, 0, 254))),
		dhcpv4.WithOption(dhcpv4.OptDNS(net.IPv4(10, 0, 0, 2), net.IPv4zero, net.IPv4(10, 0, 0, 2), net.IPv4(10, 0, 0, 3))),
		dhcpv4.WithOption(dhcpv4.OptNTPServers(net.IPv4(10, 0, 0, 4))),
		dhcpv4.WithOption(dhcpv4.OptDomainName("example.com.\x00")),
		dhcpv4.WithDomainSearchList("example.com", "b.example", "-bad"),
		dhcpv4.WithOption(dhcpv4.OptHostName("named")),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0x78}),
		dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, []byte{0, 0, 0, 100}),
		dhcpv4.WithGeneric(dhcpv4.OptionRebindingTimeValue, []byte{0, 0, 0, 200}),
	)
	l, err := newLease(full, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if want := "10.0.0.5/24 gateway 10.0.0.254 dns 10.0.0.2,10.0.0.3 ntp 10.0.0.4, lease 13m20s"; l.String() != want {
		t.Errorf("got %s, want %s", l, want)
	}
	if strings.Join(l.Search, " ") != "example.com b.example" || l.Host != "named" || l.MTU != 1400 || l.Server != labServer {
		t.Errorf("got %+v", l)
	}
	if l.Renew != time.Hour+100*time.Second || l.Rebind != time.Hour+200*time.Second || l.Expire != time.Hour+800*time.Second {
		t.Errorf("times are %v, %v, %v", l.Renew, l.Rebind, l.Expire)
	}

	// What an answer can have that must not reach a file or the kernel.
	bad := answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.5",
		dhcpv4.WithOption(dhcpv4.OptDomainName("a\nnameserver 6.6.6.6")), dhcpv4.WithOption(dhcpv4.OptHostName("a b")),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 68}),
		dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, []byte{0, 0, 9, 0}), dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask))
	if l, err = newLease(bad, 0); err != nil || l.Search != nil || l.Host != "" || l.MTU != 0 || l.Address.Bits() != 8 {
		t.Errorf("got %+v, %v", l, err)
	}
	if l.Renew != 400*time.Second || l.Rebind != 700*time.Second {
		t.Errorf("times are %v, %v", l.Renew, l.Rebind)
	}
	for _, a := range []*dhcpv4.DHCPv4{
		answerTo(m, dhcpv4.MessageTypeAck, "0.0.0.0"),
		answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.5", dhcpv4.WithLeaseTime(0)),
		answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.5", dhcpv4.WithNetmask(net.IPMask{255, 0, 255, 0})),
	} {
		if _, err := newLease(a, 0); err == nil {
			t.Errorf("no error for %v", a.Summary())
		}
	}
	if l, err = newLease(answerTo(m, dhcpv4.MessageTypeAck, "10.0.0.5", dhcpv4.WithLeaseTime(1<<32-1)), 0); err != nil || l.Renew != forever {
		t.Errorf("an endless lease: %v, %v", l, err)
	}
}

// TestClassless is the network of a cloud: one address, and a router outside of it.
func TestClassless(t *testing.T) {
	m, err := message(labMAC, "", dhcpv4.MessageTypeRequest)
	if err != nil {
		t.Fatal(err)
	}
	router, all := net.IPv4(10, 128, 0, 1), net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	l, err := newLease(answerTo(m, dhcpv4.MessageTypeAck, "10.128.0.9", dhcpv4.WithNetmask(net.CIDRMask(32, 32)),
		dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(9, 9, 9, 9))), // not to be used then
		dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: &all, Router: router},
			&dhcpv4.Route{Dest: &net.IPNet{IP: router, Mask: net.CIDRMask(32, 32)}, Router: net.IPv4zero}))), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []route{{netip.MustParsePrefix("10.128.0.1/32"), netip.IPv4Unspecified()}, {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.128.0.1")}}
	if got := l.ordered(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestState(t *testing.T) {
	s := state(t.TempDir())
	if l, err := s.load("eth0", 0); l != nil || err != nil {
		t.Errorf("before anything was saved: %v, %v", l, err)
	}
	l := kept().has
	l.DNS, l.Routes = []netip.Addr{labServer}, []route{{netip.MustParsePrefix("0.0.0.0/0"), labServer}}
	if err := s.save("eth0", l); err != nil {
		t.Fatal(err)
	}
	if got, err := s.load("eth0", 59*time.Second); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("got %+v, %v, want %+v", got, err, l)
	}
	if got, err := s.load("eth0", time.Minute); got != nil || err != nil {
		t.Errorf("of a lease that has ended: %v, %v", got, err)
	}
	if err := s.save("eth0", nil); err != nil {
		t.Error(err)
	}
	if err := s.save("eth0", nil); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(string(s), "eth0.lease"), []byte(`{"Address": "10.`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := s.load("eth0", 0); got != nil || err == nil {
		t.Errorf("of half a file: %v, %v", got, err)
	}
}
