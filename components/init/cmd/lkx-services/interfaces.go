package main

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// addInterface gives the process pid's network namespace an interface: a new
// one of type add, or, if that is "", one that the host has. With a peer, the
// other end of a new pair stays on the host. inRoot makes it on the host and
// moves it, as wireguard needs to reach the host's network.
func addInterface(pid int, name, add, peer string, inRoot bool) error {
	if add == "" && peer != "" {
		add = "veth"
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	var link netlink.Link = &netlink.GenericLink{LinkAttrs: attrs, LinkType: add}
	if add == "veth" {
		link = &netlink.Veth{LinkAttrs: attrs, PeerName: peer}
	}
	switch {
	case add != "" && peer == "" && !inRoot:
		ns, err := netns.GetFromPid(pid)
		if err != nil {
			return fmt.Errorf("opening its network namespace: %w", err)
		}
		defer ns.Close()
		h, err := netlink.NewHandleAt(ns)
		if err != nil {
			return fmt.Errorf("entering its network namespace: %w", err)
		}
		defer h.Close()
		return h.LinkAdd(link)
	case add != "":
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("adding a %s: %w", add, err)
		}
	}
	found, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetNsPid(found, pid)
}
