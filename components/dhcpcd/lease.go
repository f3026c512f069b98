package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// lease is a config that a DHCPv4 server gave for a time.
type lease struct {
	config
	Server netip.Addr    // who gave it
	Renew  time.Duration // when that server is asked to prolong it (T1)
	Rebind time.Duration // when any server is (T2)
	Got    time.Duration
}

// String is what a person wants to know of l.
func (l *lease) String() string {
	length := forever
	if l.Expire != forever {
		length = l.Expire - l.Got
	}
	return fmt.Sprintf("%s, lease %s", &l.config, short(length))
}

// Least and largest MTU that is taken from a server: what every host must take
// (RFC 791 section 3.1), and what the length of a packet allows.
const leastMTU, largestMTU = 576, 65535

// newLease is what a server's DHCPACK says, which came at the time now.
func newLease(ack *dhcpv4.DHCPv4, now time.Duration) (*lease, error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || addr.IsUnspecified() {
		return nil, errors.New("the answer has no address")
	}
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	bits, size := mask.Size()
	if size != 32 {
		return nil, fmt.Errorf("the answer has the mask %v", mask)
	}
	l := &lease{Got: now}
	l.Address = netip.PrefixFrom(addr, bits)
	l.Server, _ = netip.AddrFromSlice(ack.ServerIdentifier().To4())
	l.DNS, l.NTP = addresses(ack.DNS()), addresses(ack.NTPServers())
	l.Search = domains(ack.DomainName())
	if list := ack.DomainSearch(); list != nil {
		l.Search = domains(append(l.Search, list.Labels...)...)
	}
	if host := ack.HostName(); isName(host) {
		l.Host = host
	}
	if mtu := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(mtu) == 2 {
		if n := int(binary.BigEndian.Uint16(mtu)); n >= leastMTU && n <= largestMTU {
			l.MTU = n
		}
	}
	l.Routes = routes(ack)
	return l, l.times(ack)
}

// infinite is a lease time that does not end (RFC 2131 section 3.3).
const infinite = (1<<32 - 1) * time.Second

// times are the moments of a lease: defaults are those of RFC 2131 section 4.4.5.
func (l *lease) times(ack *dhcpv4.DHCPv4) error {
	length := ack.IPAddressLeaseTime(infinite)
	if length == infinite {
		l.Renew, l.Rebind, l.Expire = forever, forever, forever
		return nil
	}
	if length == 0 {
		return fmt.Errorf("the answer has %v for no time", l.Address)
	}
	renew, rebind := ack.IPAddressRenewalTime(length/2), ack.IPAddressRebindingTime(length*7/8)
	if renew <= 0 || renew >= rebind || rebind >= length {
		renew, rebind = length/2, length*7/8
	}
	l.Renew, l.Rebind, l.Expire = l.Got+renew, l.Got+rebind, l.Got+length
	return nil
}

// routes are the classless ones (RFC 3442), which take the place of the router
// where there are any.
func routes(ack *dhcpv4.DHCPv4) []route {
	var out []route
	for _, r := range ack.ClasslessStaticRoute() {
		if r.Dest == nil {
			continue
		}
		to, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		via, ok2 := netip.AddrFromSlice(r.Router.To4())
		if bits, size := r.Dest.Mask.Size(); ok && ok2 && size == 32 {
			out = append(out, route{netip.PrefixFrom(to, bits).Masked(), via})
		}
	}
	if out != nil {
		return out
	}
	if list := addresses(ack.Router()); len(list) > 0 {
		out = append(out, route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), list[0]})
	}
	return out
}

// message begins a message about a lease, with what every one says.
func message(mac net.HardwareAddr, host string, kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	m, err := dhcpv4.New(
		dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, mac...))), // 1 is ethernet: RFC 2132 section 9.14
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(maxMessage)),
		dhcpv4.WithRequestedOptions(
			dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter, // in this order: RFC 3442
			dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
			dhcpv4.OptionHostName, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionNTPServers,
			dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
		))
	if err == nil && host != "" {
		m.UpdateOption(dhcpv4.OptHostName(host))
	}
	return m, err
}

// maxMessage is the largest message that is taken, in bytes.
const maxMessage = 1500

// state keeps leases of this boot in a directory: what one process got another
// goes on with.
type state string

func (s state) file(link string) string { return filepath.Join(string(s), link+".lease") }

// load is the lease of an interface that has not ended, nil if there is none.
func (s state) load(link string, now time.Duration) (*lease, error) {
	text, err := os.ReadFile(s.file(link))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	var l lease
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("reading the lease %s: %w", s.file(link), err)
	}
	if l.Expire <= now {
		return nil, nil
	}
	return &l, nil
}

// save keeps a lease; nil removes it.
func (s state) save(link string, l *lease) error {
	if l == nil {
		if err := os.Remove(s.file(link)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the lease: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("writing the lease: %w", err)
	}
	if err := os.WriteFile(s.file(link)+".new", text, 0o644); err != nil {
		return fmt.Errorf("writing the lease: %w", err)
	}
	return os.Rename(s.file(link)+".new", s.file(link))
}
