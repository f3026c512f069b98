package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// openWire4 opens an interface for DHCPv4, with an address or without. It ends
// with ctx.
func openWire4(ctx context.Context, link string) (wire4, error) {
	ifc, err := net.InterfaceByName(link)
	if err != nil {
		return wire4{}, err
	}
	filter, err := bpf.Assemble(toClient())
	if err != nil {
		return wire4{}, err
	}
	raw, err := packet.Listen(ifc, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter})
	if err != nil {
		return wire4{}, fmt.Errorf("opening a packet socket: %w", err)
	}
	conn := nclient4.NewBroadcastUDPConn(raw, &net.UDPAddr{Port: dhcpv4.ClientPort})
	context.AfterFunc(ctx, func() { conn.Close() })
	in := make(chan *dhcpv4.DHCPv4, 16)
	go receive(ctx, conn, in, dhcpv4.FromBytes)
	return wire4{in: in, send: func(m *dhcpv4.DHCPv4, to netip.Addr) error {
		if to.IsValid() {
			return unicast(ctx, link, m.ToBytes(), to)
		}
		_, err := conn.WriteTo(m.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ServerPort})
		return err
	}}, nil
}

// receive passes on what comes until the connection is closed; what is no
// message, or comes when nobody reads, is lost.
func receive[M any](ctx context.Context, conn net.PacketConn, in chan<- M, parse func([]byte) (M, error)) {
	defer close(in)
	buf := make([]byte, 1<<16)
	for {
		n, _, err := conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case err != nil: // the link is down, and may come back
			if sleep(ctx, time.Second) != nil {
				return
			}
			continue
		}
		m, err := parse(buf[:n])
		if err != nil {
			continue
		}
		select {
		case in <- m:
		default:
		}
	}
}

// toClient lets UDP packets to the client's port pass, of IPv4 from its header
// on. It keeps all other traffic of the interface away from this process.
func toClient() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},                                      // protocol: RFC 791 section 3.1
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6}, //
		bpf.LoadAbsolute{Off: 6, Size: 2},                                      // flags and offset of the fragment
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},            //
		bpf.LoadMemShift{Off: 0},                                               // length of the header
		bpf.LoadIndirect{Off: 2, Size: 2},                                      // destination port: RFC 768
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: dhcpv4.ClientPort, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
}

// unicast sends a message from the address of an interface. The answer comes by
// the packet socket.
func unicast(ctx context.Context, link string, text []byte, to netip.Addr) error {
	conn, err := listen(ctx, "udp4", ":"+strconv.Itoa(dhcpv4.ClientPort), link)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.WriteTo(text, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, dhcpv4.ServerPort)))
	return err
}

// listen opens a socket for one interface.
func listen(ctx context.Context, network, addr, link string) (net.PacketConn, error) {
	l := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.BindToDevice(int(fd), link))
		})
		return errors.Join(err, failed)
	}}
	return l.ListenPacket(ctx, network, addr)
}
