package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// forever is a time that does not come.
const forever = time.Duration(1<<63 - 1)

// config is what one server, or router, lets one interface have. Times are of
// the boot's clock (see [uptime.Now]), which nobody sets.
type config struct {
	Address   netip.Prefix  // invalid for none; with the length of the network's prefix
	Preferred time.Duration // until when the address is for new connections; IPv6 alone
	Expire    time.Duration // when the address must be gone
	Routes    []route
	MTU       int // bytes; 0 for none
	DNS       []netip.Addr
	Search    []string // domains, the first is the machine's own
	NTP       []netip.Addr
	Host      string // name of the machine; "" for none
}

// route leads to a network: by Via, or without a router if that is unspecified.
type route struct {
	To  netip.Prefix
	Via netip.Addr
}

// String is what a person wants to know of c.
func (c *config) String() string {
	var out []string
	if c.Address.IsValid() {
		out = append(out, c.Address.String())
	}
	for _, r := range c.Routes {
		if r.To.Bits() == 0 {
			out = append(out, "gateway "+r.Via.String())
		}
	}
	if len(c.DNS) > 0 {
		out = append(out, "dns "+join(c.DNS))
	}
	if len(c.NTP) > 0 {
		out = append(out, "ntp "+join(c.NTP))
	}
	return strings.Join(out, " ")
}

func join[T fmt.Stringer](list []T) string {
	var out []string
	for _, x := range list {
		out = append(out, x.String())
	}
	return strings.Join(out, ",")
}

// short writes a time as people do: 24h, 1m30s.
func short(d time.Duration) string {
	if d == forever {
		return "for ever"
	}
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// addresses are those of list that can be used.
func addresses(list []net.IP) []netip.Addr {
	var out []netip.Addr
	for _, ip := range list {
		if a, ok := netip.AddrFromSlice(ip); ok && !a.IsUnspecified() && !slices.Contains(out, a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// domains are those of list that are names: what a server sends becomes a line
// of a file.
func domains(list ...string) []string {
	var out []string
	for _, name := range list {
		name = strings.TrimSuffix(strings.Trim(name, "\x00"), ".")
		if isName(name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// isName tells whether s is a host's or domain's name (RFC 1123 section 2.1),
// which may have underscores, too.
func isName(s string) bool {
	if s == "" || len(s) > 253 || strings.HasPrefix(s, "-") || strings.HasPrefix(s, ".") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r))
	})
}
