package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// manager starts sessions for interfaces as they come and go, and makes one of
// what these get.
type manager struct {
	o      options
	log    *log.Logger
	sys    system
	events chan event
	links  map[int]*link // by index
}

// link is an interface that is to be configured.
type link struct {
	name    string
	up      bool // has a link to something
	got     map[int]*config
	settled map[int]bool
	said    map[int]string
	problem error
	stop    func() // ends the session; nil for none
}

// run configures interfaces until ctx is done, or with once until those are
// configured that can be.
func (m *manager) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for _, l := range m.links {
			l.end()
		}
	}()
	var timeout <-chan time.Time
	if m.o.once {
		timeout = time.After(m.o.timeout)
	}
	updates, err := watch(ctx)
	if err != nil {
		return err
	}
	waited := time.Duration(0)
	patience := time.NewTimer(firstWord)
	for !m.o.once || !m.finished() {
		select {
		case <-ctx.Done():
			return nil
		case u, more := <-updates:
			if !more { // some were lost: look at everything
				if updates, err = watch(ctx); err != nil {
					return err
				}
				continue
			}
			m.link(ctx, u)
		case e := <-m.events:
			if err := m.event(e); err != nil {
				return err
			}
		case <-patience.C:
			waited += max(waited, firstWord)
			m.waiting(waited)
			patience.Reset(waited)
		case <-timeout:
			return m.verdict()
		}
	}
	return nil
}

// firstWord is how long it takes until the console hears of what is missing;
// then it is twice as long each time.
const firstWord = 5 * time.Second

// waiting says what is missing.
func (m *manager) waiting(waited time.Duration) {
	for _, what := range m.missing() {
		m.log.Printf("waiting, %s by now: %s", short(waited), what)
	}
}

// watch tells of all interfaces, and of each change. The channel is closed when
// something was lost, or ctx is done.
func watch(ctx context.Context) (<-chan netlink.LinkUpdate, error) {
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{ListExisting: true})
	if err != nil {
		return nil, fmt.Errorf("watching the interfaces: %w", err)
	}
	return updates, nil
}

// link takes what the kernel says of an interface.
func (m *manager) link(ctx context.Context, u netlink.LinkUpdate) {
	attrs := u.Attrs()
	l := m.links[attrs.Index]
	if u.Header.Type == unix.RTM_DELLINK || !m.o.wants(attrs.Name, isCard(attrs)) {
		if l != nil {
			l.end()
			delete(m.links, attrs.Index)
			m.check(m.publish())
		}
		return
	}
	if l == nil {
		l = &link{name: attrs.Name, got: map[int]*config{}, settled: map[int]bool{}, said: map[int]string{}}
		m.links[attrs.Index] = l
		if err := netlink.LinkSetUp(u.Link); err != nil {
			l.problem = fmt.Errorf("bringing it up: %w", err)
		}
	}
	up := attrs.RawFlags&unix.IFF_RUNNING != 0
	if up == l.up {
		return
	}
	l.up = up
	if !up {
		l.end()
		l.said = map[int]string{}
		m.log.Printf("%s: the link is down", l.name)
		return
	}
	l.problem, l.settled = nil, map[int]bool{}
	l.stop = m.start(ctx, attrs)
}

// isCard tells whether an interface is a piece of hardware, or a hypervisor's,
// for ethernet.
func isCard(a *netlink.LinkAttrs) bool {
	sys := filepath.Join("/sys/class/net", a.Name)
	_, err := os.Stat(filepath.Join(sys, "device"))
	_, wireless := os.Stat(filepath.Join(sys, "wireless"))
	return a.EncapType == "ether" && err == nil && wireless != nil
}

// start starts the session of an interface. The result ends it.
func (m *manager) start(ctx context.Context, a *netlink.LinkAttrs) func() {
	ctx, cancel := context.WithCancel(ctx)
	s := session{
		name: a.Name, index: a.Index, mac: a.HardwareAddr, once: m.o.once, sys: m.sys, state: stateDir,
		tell: func(e event) {
			select {
			case m.events <- e:
			case <-ctx.Done():
			}
		},
	}
	done := make(chan struct{}, 2)
	for family, run := range map[int]func(context.Context) error{v4: s.run4, v6: s.run6} {
		go func() {
			if m.o.family(family) {
				s.keep(ctx, family, run)
			}
			done <- struct{}{}
		}()
	}
	return func() { cancel(); <-done; <-done }
}

func (l *link) end() {
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// event takes what a session says.
func (m *manager) event(e event) error {
	l := m.links[e.index]
	if l == nil {
		return nil
	}
	if e.problem != nil {
		l.problem = e.problem
		m.log.Printf("%s: %v", l.name, e.problem)
		return nil
	}
	l.got[e.family] = e.got
	l.settled[e.family] = e.settled
	if e.said != "" && e.said != l.said[e.family] {
		m.log.Printf("%s: %s", l.name, e.said)
	}
	l.said[e.family] = e.said
	if e.got != nil {
		named, err := takeName(e.got.Host)
		if named {
			m.log.Printf("%s: the machine's name is %s", l.name, e.got.Host)
		}
		m.check(err)
	}
	return m.publish()
}

// check says what does not stop the rest.
func (m *manager) check(err error) {
	if err != nil {
		m.log.Print(err)
	}
}

// publish writes what all servers say together.
func (m *manager) publish() error {
	var all []*config
	for _, l := range m.sorted() {
		for _, family := range []int{v4, v6} {
			if c := l.got[family]; c != nil {
				all = append(all, c)
			}
		}
	}
	servers := all
	if len(m.o.dns) > 0 {
		servers = []*config{{DNS: m.o.dns}}
	}
	for name, text := range map[string]string{resolver: resolvConf(servers), ntpFile: ntpSources(all)} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := replace(name, text); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// sorted are the interfaces by their names.
func (m *manager) sorted() []*link {
	var out []*link
	for _, l := range m.links {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *link) int { return strings.Compare(a.name, b.name) })
	return out
}

func (l *link) configured() bool { return l.got[v4] != nil || l.got[v6] != nil }

// finished tells whether nothing is missing that can be waited for.
func (m *manager) finished() bool {
	return slices.ContainsFunc(m.sorted(), (*link).configured) && len(m.missing()) == 0
}

// missing says what is missing. Interfaces without a link are not as soon as
// another one is configured, unless they are asked for by name.
func (m *manager) missing() []string {
	list := m.sorted()
	some := slices.ContainsFunc(list, (*link).configured)
	var out []string
	for _, name := range m.o.exact() {
		if !slices.ContainsFunc(list, func(l *link) bool { return l.name == name }) {
			out = append(out, name+": there is no such interface")
		}
	}
	if len(list) == 0 && out == nil {
		out = append(out, "there is no interface "+m.o.described())
	}
	for _, l := range list {
		switch {
		case !l.up && (!some || slices.Contains(m.o.patterns, l.name)):
			out = append(out, l.name+": no link: "+m.linkProblem(l))
		case l.up && (m.o.family(v4) && !l.settled[v4] || m.o.family(v6) && !l.settled[v6] || !l.configured()):
			out = append(out, fmt.Sprintf("%s: %v", l.name, l.why(m.o)))
		}
	}
	return out
}

func (m *manager) linkProblem(l *link) string {
	if l.problem != nil {
		return l.problem.Error()
	}
	return "is a cable, or a network, attached?"
}

// why is what is in the way of an interface that has a link.
func (l *link) why(o options) error {
	switch {
	case l.problem != nil:
		return l.problem
	case o.family(v4) && !l.settled[v4]:
		return errNoOffer
	}
	return errors.New("no router answers")
}

// verdict is the end when time is up: an error if nothing is configured, or not
// what was asked for by name.
func (m *manager) verdict() error {
	list := m.sorted()
	failed := !slices.ContainsFunc(list, (*link).configured)
	for _, name := range m.o.exact() {
		failed = failed || !slices.ContainsFunc(list, func(l *link) bool { return l.name == name && l.configured() })
	}
	text := fmt.Sprintf("after %s: %s", short(m.o.timeout), strings.Join(m.missing(), "; "))
	if failed {
		return errors.New("no network " + text)
	}
	m.log.Print("going on without, ", text)
	return nil
}

// wants tells whether an interface is to be configured.
func (o options) wants(name string, card bool) bool {
	if len(o.patterns) == 0 {
		return card
	}
	return slices.ContainsFunc(o.patterns, func(p string) bool {
		ok, _ := path.Match(p, name) // patterns were checked
		return ok
	})
}

// exact are the names that interfaces are asked for by, without patterns.
func (o options) exact() []string {
	return slices.DeleteFunc(slices.Clone(o.patterns), func(p string) bool { return strings.ContainsAny(p, `*?[\`) })
}

func (o options) described() string {
	if len(o.patterns) == 0 {
		return "for ethernet"
	}
	return strings.Join(o.patterns, ", ")
}

func (o options) family(f int) bool { return o.only == 0 || o.only == f }

