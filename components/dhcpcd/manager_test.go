package main

import (
	"bytes"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--nobackground", "-f", "/dhcpcd.conf", "-1", "-4", "-t", "5", "-dns", "9.9.9.9,2620:fe::fe", "eth*", "lan0"})
	want := options{
		once: true, only: v4, timeout: 5 * time.Second, patterns: []string{"eth*", "lan0"},
		ignored: []string{"-nobackground", "-f /dhcpcd.conf"}, dns: []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::fe")},
	}
	if err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, %v", o, err)
	}
	if got := o.exact(); !reflect.DeepEqual(got, []string{"lan0"}) {
		t.Errorf("names are %q", got)
	}
	if !o.wants("eth3", false) || !o.wants("lan0", false) || o.wants("lan1", true) {
		t.Error("patterns do not match what they should")
	}
	if o = (options{}); !o.wants("enp1s0", true) || o.wants("docker0", false) {
		t.Error("without patterns, cards are wanted and nothing else")
	}
	for _, args := range [][]string{{"-4", "-6"}, {"-t", "0"}, {"-t", "soon"}, {"-dns", "a"}, {"eth[0"}, {"-nosuch"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("no error for %q", args)
		}
	}
}

// at is a manager in the middle of its work.
func at(o options, links ...*link) (*manager, *bytes.Buffer) {
	var said bytes.Buffer
	m := &manager{o: o, log: log.New(&said, "", 0), links: map[int]*link{}}
	for i, l := range links {
		m.links[i] = l
	}
	return m, &said
}

func TestVerdict(t *testing.T) {
	some := &config{Host: "x"}
	done, none := part{got: some, settled: true}, part{settled: true}
	ready := &link{name: "eth0", up: true, four: done, six: none}
	half := &link{name: "eth1", up: true, four: done}
	silent := &link{name: "eth2", up: true, six: none}
	unplugged := &link{name: "eth3"}
	six := &link{name: "eth4", up: true, six: done}
	refused := &link{name: "eth5", up: true, four: part{problem: "go away"}, six: none}
	for name, x := range map[string]struct {
		o        options
		links    []*link
		finished bool
		says     string // or the error
		fails    bool
	}{
		"nothing":          {says: "there is no interface for ethernet", fails: true},
		"no such pattern":  {o: options{patterns: []string{"wan*"}}, says: "there is no interface wan*", fails: true},
		"no such name":     {o: options{patterns: []string{"wan0"}}, links: []*link{ready}, says: "wan0: there is no such interface", fails: true},
		"ready":            {links: []*link{ready}, finished: true},
		"IPv6 is on":       {links: []*link{half}, says: "eth1: no router answers"},
		"IPv4 alone":       {o: options{only: v4}, links: []*link{half}, finished: true},
		"silent":           {links: []*link{silent}, says: "eth2: no server offers an address", fails: true},
		"silent, too":      {links: []*link{ready, silent}, says: "eth2: no server offers an address"},
		"refused":          {links: []*link{refused}, says: "eth5: go away", fails: true},
		"unplugged":        {links: []*link{unplugged}, says: "eth3: no link", fails: true},
		"unplugged, too":   {links: []*link{ready, unplugged}, finished: true},
		"unplugged, named": {o: options{patterns: []string{"eth3", "eth0"}}, links: []*link{ready, unplugged}, says: "eth3: no link", fails: true},
		"no IPv4":          {links: []*link{six}, says: "eth4: no server offers an address"},
		"IPv6 alone":       {o: options{only: v6}, links: []*link{six}, finished: true},
		"no IPv6":          {o: options{only: v6}, links: []*link{silent}, says: "eth2: no router answers", fails: true},
	} {
		m, said := at(x.o, x.links...)
		if got := m.finished(); got != x.finished {
			t.Errorf("%s: finished is %t", name, got)
		}
		if x.finished {
			continue
		}
		err := m.verdict()
		if err != nil {
			said.WriteString(err.Error())
		}
		if (err != nil) != x.fails || !strings.Contains(said.String(), x.says) {
			t.Errorf("%s: %v, %q", name, err, said)
		}
	}
}

func TestFiles(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")
	all := []*config{{DNS: []netip.Addr{a}, Search: []string{"x"}, NTP: []netip.Addr{a}}, {DNS: []netip.Addr{b, a}, Search: []string{"y", "x"}, NTP: []netip.Addr{a}}}
	if got, want := resolvConf(all), "# written by dhcpcd\nsearch x y\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n"; got != want {
		t.Errorf("got %q", got)
	}
	if got, want := ntpSources(all), "server 10.0.0.1 iburst\n"; got != want {
		t.Errorf("got %q", got)
	}
	// The file stays the same file, for those that have bound it.
	name := filepath.Join(t.TempDir(), "resolv.conf")
	bound := filepath.Join(t.TempDir(), "bound")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(name, bound); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"nameserver 1.2.3.4\n", "\n", "", "nameserver 5.6.7.8\n"} {
		if err := replace(name, text); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(bound); err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
	for name, want := range map[string]bool{"lkx": true, "lkx-525400123456": true, "(none)": true, "": true, "lkx-build": false, "web1": false} {
		if unnamed.MatchString(name) != want {
			t.Errorf("%q is no name: %t", name, !want)
		}
	}
	for d, want := range map[time.Duration]string{24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", forever: "for ever", 5 * time.Second: "5s"} {
		if got := short(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
