package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/ipv6"
)

// advert is what a router says (RFC 4861 section 4.2) that the kernel, which
// makes addresses and routes of it, leaves to others.
type advert struct {
	Router   netip.Addr
	Lifetime time.Duration // as a default router; 0 if it is none
	Managed  bool          // there are addresses by DHCPv6
	Other    bool          // there is other configuration by DHCPv6
	Auto     bool          // the kernel makes an address of a prefix
	DNS      []netip.Addr  // RFC 8106 section 5.1
	Search   []string      // RFC 8106 section 5.2
}

// same tells whether two adverts ask for the same.
func (a *advert) same(b *advert) bool {
	return a != nil && b != nil && a.Router == b.Router && (a.Lifetime > 0) == (b.Lifetime > 0) &&
		a.Managed == b.Managed && a.Other == b.Other && a.Auto == b.Auto &&
		slices.Equal(a.DNS, b.DNS) && slices.Equal(a.Search, b.Search)
}

// Types of options of an advert.
const (
	optPrefix = 3  // RFC 4861 section 4.6.2
	optDNS    = 25 // RFC 8106 section 5.1
	optSearch = 31 // RFC 8106 section 5.2
)

// parseAdvert reads a router advertisement, from the ICMPv6 type on.
func parseAdvert(text []byte) (*advert, error) {
	const head = 16
	if len(text) < head || text[0] != byte(ipv6.ICMPTypeRouterAdvertisement) || text[1] != 0 {
		return nil, fmt.Errorf("no router advertisement")
	}
	a := &advert{
		Managed: text[5]&0x80 != 0, Other: text[5]&0x40 != 0,
		Lifetime: time.Duration(binary.BigEndian.Uint16(text[6:])) * time.Second,
	}
	for rest := text[head:]; len(rest) > 0; {
		if len(rest) < 2 || rest[1] == 0 || len(rest) < 8*int(rest[1]) {
			return nil, fmt.Errorf("an option of a router advertisement is cut off")
		}
		a.option(rest[0], rest[:8*int(rest[1])])
		rest = rest[8*int(rest[1]):]
	}
	return a, nil
}

// option takes one option, whose length is a multiple of 8 bytes.
func (a *advert) option(kind byte, o []byte) {
	switch {
	case kind == optPrefix && len(o) == 32:
		a.Auto = a.Auto || o[3]&0x40 != 0 && binary.BigEndian.Uint32(o[4:]) > 0
	case kind == optDNS && len(o) >= 24 && binary.BigEndian.Uint32(o[4:]) > 0:
		for list := o[8:]; len(list) >= 16; list = list[16:] {
			a.DNS = append(a.DNS, netip.AddrFrom16([16]byte(list)))
		}
	case kind == optSearch && len(o) >= 16 && binary.BigEndian.Uint32(o[4:]) > 0:
		a.Search = domains(append(a.Search, labels(o[8:])...)...)
	}
}

// labels are the names in text, each of labels with their lengths and an empty
// one in the end (RFC 1035 section 3.1), padded with zeros.
func labels(text []byte) []string {
	var out, parts []string
	for len(text) > 0 {
		n := int(text[0])
		if n >= len(text) {
			return out
		}
		if n > 0 {
			parts = append(parts, string(text[1:1+n]))
		} else if parts != nil {
			out, parts = append(out, strings.Join(parts, ".")), nil
		}
		text = text[1+n:]
	}
	return out
}

// openRouters hears and asks the routers of an interface. It ends with ctx.
func openRouters(ctx context.Context, link string) (in <-chan *advert, ask func() error, err error) {
	conn, err := listen(ctx, "ip6:ipv6-icmp", "::", link)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a socket for router advertisements: %w", err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	p := ipv6.NewPacketConn(conn)
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	for _, err := range []error{
		p.SetICMPFilter(&filter), p.SetControlMessage(ipv6.FlagHopLimit, true), p.SetMulticastHopLimit(255),
	} {
		if err != nil {
			conn.Close()
			return nil, nil, fmt.Errorf("preparing a socket for router advertisements: %w", err)
		}
	}
	adverts := make(chan *advert, 4)
	go hear(ctx, p, adverts)
	ask = func() error { // RFC 4861 section 4.1
		_, err := conn.WriteTo([]byte{byte(ipv6.ICMPTypeRouterSolicitation), 0, 0, 0, 0, 0, 0, 0},
			&net.IPAddr{IP: net.IPv6linklocalallrouters, Zone: link})
		return err
	}
	return adverts, ask, nil
}

// hear passes adverts on until ctx is done. Those that came through another
// router are none (RFC 4861 section 6.1.2).
func hear(ctx context.Context, p *ipv6.PacketConn, out chan<- *advert) {
	defer close(out)
	buf := make([]byte, 1<<16)
	for {
		n, cm, from, err := p.ReadFrom(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil { // the link is down, and may come back
			if sleep(ctx, time.Second) != nil {
				return
			}
			continue
		}
		a, err := parseAdvert(buf[:n])
		if err != nil || cm == nil || cm.HopLimit != 255 {
			continue
		}
		if ip, ok := from.(*net.IPAddr); ok {
			a.Router, _ = netip.AddrFromSlice(ip.IP)
		}
		select {
		case out <- a:
		case <-ctx.Done():
			return
		}
	}
}
