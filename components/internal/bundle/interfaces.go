package bundle

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// give moves the interface into the network namespace of process pid, making
// it first where it is to be added.
func (i Interface) give(pid int) error {
	inRoot, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	defer inRoot.Close()
	if i.Add == "" {
		return move(inRoot, i.Name, pid)
	}
	if i.CreateInRoot || i.Peer != "" {
		if err := add(inRoot, i); err != nil {
			return err
		}
		return move(inRoot, i.Name, pid)
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("opening the network namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening netlink in the network namespace of process %d: %w", pid, err)
	}
	defer inside.Close()
	return add(inside, i)
}

func add(h *netlink.Handle, i Interface) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = i.Name
	var link netlink.Link = &netlink.GenericLink{LinkAttrs: attrs, LinkType: i.Add}
	if i.Peer != "" {
		if i.Add != "veth" {
			return fmt.Errorf("a link of type %s has no peer", i.Add)
		}
		link = &netlink.Veth{LinkAttrs: attrs, PeerName: i.Peer}
		// A container that comes back may find the pair of its last run: the
		// kernel takes its time to remove it.
		if old, err := h.LinkByName(i.Peer); err == nil && old.Type() == "veth" {
			if err := h.LinkDel(old); err != nil {
				return fmt.Errorf("removing the old link %s: %w", i.Peer, err)
			}
		}
	}
	if err := h.LinkAdd(link); err != nil {
		return fmt.Errorf("adding a link of type %s: %w", i.Add, err)
	}
	return nil
}

func move(h *netlink.Handle, name string, pid int) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding the link: %w", err)
	}
	if err := h.LinkSetNsPid(link, pid); err != nil {
		return fmt.Errorf("moving the link into the container: %w", err)
	}
	return nil
}
