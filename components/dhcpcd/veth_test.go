package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/server6"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// TestVeth runs the whole program on a cable to servers of the test's, in a
// network, mounts and names of its own.
func TestVeth(t *testing.T) {
	const inside = "LKX_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		onCable(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVeth$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if os.IsPermission(err) {
		t.Skipf("this wants root: %v", err)
	}
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestVeth")) {
		t.Fatalf("in a network of its own: %v", err)
	}
}

// servers are on the other end of the cable, in a second network namespace.
type servers struct {
	mu   sync.Mutex
	said []string // messages that came
}

func (s *servers) heard(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, what)
}

func (s *servers) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, said := range s.said {
		if said == what {
			n++
		}
	}
	return n
}

// must is for what cannot fail where the test can run at all.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// cable makes both ends, and starts the servers on the far one.
func (s *servers) cable(t *testing.T) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}))
	far, err := netlink.LinkByName("far")
	must(t, err)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		done <- func() error {
			home, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			defer home.Close()
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			here, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			defer here.Close()
			near, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			defer near.Close()
			if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			if err := netlink.LinkSetNsFd(far, int(here.Fd())); err != nil {
				return err
			}
			if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return s.serve(t)
		}()
	}()
	must(t, <-done)
}

// serve starts all servers in the namespace of the calling thread.
func (s *servers) serve(t *testing.T) error {
	link, err := netlink.LinkByName("far")
	if err != nil {
		return err
	}
	for _, a := range []string{"10.77.0.1/24", "fe80::77/64"} {
		addr, _ := netlink.ParseAddr(a)
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	four, err := server4.NewServer("far", nil, s.answer4)
	if err != nil {
		return err
	}
	six, err := server6.NewServer("far", nil, s.answer6)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	p := ipv6.NewPacketConn(conn)
	all := &net.IPAddr{IP: net.IPv6linklocalallrouters}
	if err := errors.Join(p.SetMulticastHopLimit(255), p.JoinGroup(&net.Interface{Index: link.Attrs().Index}, all)); err != nil {
		return err
	}
	go four.Serve()
	go six.Serve()
	go s.router(conn)
	t.Cleanup(func() { four.Close(); six.Close(); conn.Close() })
	return nil
}

func (s *servers) answer4(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeAck
	if m.MessageType() == dhcpv4.MessageTypeDiscover {
		kind = dhcpv4.MessageTypeOffer
	}
	from := "all"
	if !m.ClientIPAddr.IsUnspecified() {
		from = m.ClientIPAddr.String()
	}
	s.heard(fmt.Sprintf("%v %s", m.MessageType(), from))
	a, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 77, 0, 5)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 77, 0, 1))),
		dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(10, 77, 0, 254))), dhcpv4.WithOption(dhcpv4.OptDNS(net.IPv4(10, 77, 0, 2))),
		dhcpv4.WithOption(dhcpv4.OptNTPServers(net.IPv4(10, 77, 0, 3))), dhcpv4.WithOption(dhcpv4.OptDomainName("four.example")),
		dhcpv4.WithOption(dhcpv4.OptHostName("named-by-dhcp")), dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0x78}),
		dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: net.IPv4(10, 99, 0, 1)},
			&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4(10, 99, 0, 1), Mask: net.CIDRMask(32, 32)}, Router: net.IPv4zero})),
		dhcpv4.WithLeaseTime(6))
	if err != nil {
		return
	}
	_, _ = conn.WriteTo(a.ToBytes(), peer) // who asked asks again
}

func (s *servers) answer6(conn net.PacketConn, peer net.Addr, d dhcpv6.DHCPv6) {
	m, err := d.GetInnerMessage()
	if err != nil {
		return
	}
	s.heard(m.MessageType.String())
	_, _ = conn.WriteTo(leases(m).ToBytes(), peer)
}

// router tells those who ask of a prefix, of a name server and of DHCPv6.
func (s *servers) router(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n == 0 || buf[0] != byte(ipv6.ICMPTypeRouterSolicitation) {
			continue
		}
		s.heard("solicitation")
		_, _ = conn.WriteTo([]byte{
			134, 0, 0, 0, 64, 0x80, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, // managed
			3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			25, 3, 0, 0, 0, 0, 1, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77,
		}, &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: "far"})
	}
}

// console is what the program says.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// eventually waits for what has to come.
func eventually(t *testing.T, what string, c *console, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in a minute: %s\n%s", what, c)
		}
	}
}

func onCable(t *testing.T) {
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("none", "/run", "tmpfs", 0, ""), unix.Sethostname([]byte("lkx")))
	var s servers
	s.cable(t)
	var out console
	logger := log.New(&out, "", 0)

	// As onboot container.
	must(t, run(t.Context(), options{once: true, timeout: time.Minute, patterns: []string{"near"}}, logger))
	first := out.String()
	t.Logf("once:\n%s", first)
	for _, want := range []string{
		"near: 10.77.0.5/24 gateway 10.99.0.1 dns 10.77.0.2 ntp 10.77.0.3, lease 6s\n",
		"near: the machine's name is named-by-dhcp\n", "2001:db8::5/128,2001:db8::", "/64 gateway fe80::", " dns 2001:db8::53,fe80::77%near\n",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q", want)
		}
	}
	configured(t, false)
	if s.count("SOLICIT") == 0 || s.count("REQUEST") == 0 || s.count("solicitation") == 0 {
		t.Errorf("the servers heard %q", s.said)
	}

	// As service, which goes on with the lease, and renews it.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	discovered := s.count("DISCOVER all")
	go func() { ended <- run(ctx, options{patterns: []string{"near"}}, logger) }()
	eventually(t, "renewed", &out, func() bool { return s.count("REQUEST 10.77.0.5") >= 2 })
	if n := s.count("DISCOVER all"); n != discovered || discovered == 0 {
		t.Errorf("%d DHCPDISCOVER, then %d: the lease should have been confirmed", discovered, n)
	}
	configured(t, true)

	// The cable is pulled out until the lease has ended, and put in again.
	near, err := netlink.LinkByName("near")
	must(t, err, netlink.LinkSetDown(near))
	eventually(t, "the link is down", &out, func() bool { return strings.Contains(out.String(), "near: the link is down\n") })
	eventually(t, "no address is left", &out, func() bool { return len(addrs(t, netlink.FAMILY_V4)) == 0 })
	must(t, netlink.LinkSetUp(near))
	eventually(t, "back", &out, func() bool { return slices.Contains(addrs(t, netlink.FAMILY_V4), "10.77.0.5/24") })
	cancel()
	must(t, <-ended)
	t.Logf("all:\n%s", &out)
	if len(addrs(t, netlink.FAMILY_V4)) == 0 {
		t.Error("the address was taken away in the end")
	}
}

func addrs(t *testing.T, family int) []string {
	t.Helper()
	link, err := netlink.LinkByName("near")
	must(t, err)
	list, err := netlink.AddrList(link, family)
	must(t, err)
	var out []string
	for _, a := range list {
		out = append(out, a.IPNet.String())
	}
	return out
}

// configured looks at what the kernel has, and at the files.
func configured(t *testing.T, limited bool) {
	t.Helper()
	link, err := netlink.LinkByName("near")
	must(t, err)
	if mtu := link.Attrs().MTU; mtu != 1400 {
		t.Errorf("the MTU is %d", mtu)
	}
	if got := addrs(t, netlink.FAMILY_V6); !slices.Contains(got, "2001:db8::5/128") || len(got) != 3 {
		t.Errorf("addresses are %q", got)
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V4)
	must(t, err)
	if len(list) != 1 || limited != (list[0].ValidLft > 0 && list[0].ValidLft <= 6) {
		t.Errorf("addresses are %+v", list)
	}
	routes, err := netlink.RouteGet(net.IPv4(192, 0, 2, 1))
	must(t, err)
	if via, _ := netip.AddrFromSlice(routes[0].Gw); via.String() != "10.99.0.1" {
		t.Errorf("the way out is %+v", routes)
	}
	for name, want := range map[string]string{
		"/run/resolvconf/resolv.conf":            "# written by dhcpcd\nsearch four.example six.example\nnameserver 10.77.0.2\nnameserver 2001:db8::53\nnameserver fe80::77%near\n",
		"/run/dhcpcd/ntp/dhcp.sources":           "server 10.77.0.3 iburst\n",
		"/proc/sys/kernel/hostname":              "named-by-dhcp\n",
		"/proc/sys/net/ipv6/conf/near/accept_ra": "2\n",
	} {
		if text, err := os.ReadFile(name); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
}
