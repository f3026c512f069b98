package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// system is the machine that is configured.
type system struct {
	// Addresses stay for ever, as nobody is there to prolong them. Else the
	// kernel removes them when their time is over, whatever becomes of us.
	stay bool
	now  func() time.Duration // the boot's clock
}

// metric is that of routes, to which the number of the interface is added: a
// route that somebody makes by hand comes first.
const metric = 1000

// set configures an interface for is instead of was; either may be nil. What
// stays the same stays in place.
func (s system) set(name string, was, is *config) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("configuring %s: %w", name, err)
	}
	if is != nil {
		if err := s.add(link, is); err != nil {
			return err
		}
	}
	if was != nil {
		return s.remove(link, was, is)
	}
	return nil
}

// add adds the address, the routes and the MTU of c.
func (s system) add(link netlink.Link, c *config) error {
	if c.MTU != 0 && c.MTU != link.Attrs().MTU {
		if err := netlink.LinkSetMTU(link, c.MTU); err != nil {
			return fmt.Errorf("setting the MTU %d: %w", c.MTU, err)
		}
	}
	if c.Address.IsValid() {
		addr := netlink.Addr{IPNet: ipNet(c.Address)}
		if !s.stay && c.Expire != forever {
			addr.ValidLft = s.left(c.Expire)
			addr.PreferedLft = addr.ValidLft
			if c.Preferred != 0 {
				addr.PreferedLft = min(s.left(c.Preferred), addr.ValidLft)
			}
		}
		if err := netlink.AddrReplace(link, &addr); err != nil {
			return fmt.Errorf("adding the address %v: %w", c.Address, err)
		}
	}
	for _, r := range c.ordered() {
		if err := netlink.RouteReplace(kernelRoute(link, c, r)); err != nil {
			return fmt.Errorf("adding the route to %v by %v: %w", r.To, r.Via, err)
		}
	}
	return nil
}

// left is the time until t in seconds, as the kernel counts.
func (s system) left(t time.Duration) int {
	if t == forever {
		return math.MaxUint32
	}
	return max(int((t-s.now())/time.Second), 1)
}

// remove removes what is was's and not is's.
func (s system) remove(link netlink.Link, was, is *config) error {
	if is == nil {
		is = &config{}
	}
	for _, r := range was.Routes {
		if slices.Contains(is.Routes, r) {
			continue
		}
		if err := netlink.RouteDel(kernelRoute(link, was, r)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("removing the route to %v: %w", r.To, err)
		}
	}
	if was.Address.IsValid() && was.Address != is.Address {
		addr := netlink.Addr{IPNet: ipNet(was.Address)}
		if err := netlink.AddrDel(link, &addr); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("removing the address %v: %w", was.Address, err)
		}
	}
	return nil
}

// ordered are the routes, those first that others' routers are reached by.
func (c *config) ordered() []route {
	out := slices.Clone(c.Routes)
	slices.SortStableFunc(out, func(a, b route) int {
		return b.To.Bits() - a.To.Bits()
	})
	return out
}

func kernelRoute(link netlink.Link, c *config, r route) *netlink.Route {
	index := link.Attrs().Index
	out := &netlink.Route{
		LinkIndex: index, Dst: ipNet(r.To), Src: c.Address.Addr().AsSlice(),
		Protocol: unix.RTPROT_DHCP, Priority: metric + index, Scope: netlink.SCOPE_LINK,
	}
	if !r.Via.IsUnspecified() {
		out.Gw, out.Scope = r.Via.AsSlice(), netlink.SCOPE_UNIVERSE
		if !c.Address.Contains(r.Via) {
			out.Flags = int(netlink.FLAG_ONLINK) // some clouds have routers outside of the network
		}
	}
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// acceptAdverts has the kernel make addresses and routes of what routers say,
// even where it forwards packets. It is false where somebody turned that off.
func acceptAdverts(link string) (bool, error) {
	file := filepath.Join("/proc/sys/net/ipv6/conf", link, "accept_ra")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a kernel without IPv6
	}
	if err != nil || strings.TrimSpace(string(text)) == "0" {
		return false, err
	}
	off, err := os.ReadFile(filepath.Join(filepath.Dir(file), "disable_ipv6"))
	if err != nil || strings.TrimSpace(string(off)) != "0" {
		return false, err
	}
	return true, os.WriteFile(file, []byte("2"), 0o644)
}

// global are the addresses of an interface that reach further than its network,
// and that the kernel has found to be nobody else's.
func global(name string) ([]netip.Prefix, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if bits, _ := a.Mask.Size(); ok && !ip.IsLinkLocalUnicast() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
			out = append(out, netip.PrefixFrom(ip, bits))
		}
	}
	return out, nil
}

// Where others read what servers say.
const (
	stateDir  = "/run/dhcpcd"
	resolver  = "/run/resolvconf/resolv.conf"
	ntpFile   = "/run/dhcpcd/ntp/dhcp.sources" // chrony.conf(5), sourcedir
	hostnames = "/proc/sys/kernel/hostname"
)

// resolvConf is a resolv.conf(5).
func resolvConf(all []*config) string {
	var servers []netip.Addr
	var search []string
	for _, c := range all {
		servers, search = append(servers, c.DNS...), append(search, c.Search...)
	}
	var b strings.Builder
	b.WriteString("# written by dhcpcd\n")
	if search = domains(search...); len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	for i, a := range servers {
		if !slices.Contains(servers[:i], a) {
			fmt.Fprintf(&b, "nameserver %v\n", a)
		}
	}
	return b.String()
}

// ntpSources is what chrony reads.
func ntpSources(all []*config) string {
	var b strings.Builder
	var seen []netip.Addr
	for _, c := range all {
		for _, a := range c.NTP {
			if !slices.Contains(seen, a) {
				seen = append(seen, a)
				fmt.Fprintf(&b, "server %v iburst\n", a)
			}
		}
	}
	return b.String()
}

// replace makes text the content of a file, in place, as containers may have
// bound it. Whoever reads meanwhile finds the new text, with blank lines behind
// it where the old one was longer.
func replace(name, text string) error {
	before, err := os.ReadFile(name)
	if err == nil && string(before) == text {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + strings.Repeat("\n", max(len(before)-len(text), 0)))
	return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
}

// unnamed are host names that the system has for want of another.
var unnamed = regexp.MustCompile(`^(lkx|lkx-[0-9a-f]{12}|localhost|\(none\)|linuxkit|linuxkit-[0-9a-f]{12})?$`)

// takeName names the machine, if it has no name yet.
func takeName(name string) (bool, error) {
	text, err := os.ReadFile(hostnames)
	if err != nil || name == "" || !unnamed.MatchString(strings.TrimSpace(string(text))) {
		return false, err
	}
	if err := os.WriteFile(hostnames, []byte(name), 0o644); err != nil {
		return false, fmt.Errorf("naming the machine %s: %w", name, err)
	}
	return true, nil
}
