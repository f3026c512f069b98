package main

import (
	"cmp"
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
	name   string
	up     bool // has a link to something
	failed error
	stop   func() // ends the session; nil for none
	four   part
	six    part
}

// part is what one family has come to.
type part struct {
	got     *config // nil for nothing
	settled bool    // there is nothing to wait for
	said    string  // on the console
	problem string  // was said last; "" for none
}

// of is the part of a family.
func (l *link) of(family int) *part {
	if family == v4 {
		return &l.four
	}
	return &l.six
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
		l = &link{name: attrs.Name}
		m.links[attrs.Index] = l
		if err := netlink.LinkSetUp(u.Link); err != nil {
			l.failed = fmt.Errorf("bringing it up: %w", err)
		}
	}
	up := attrs.RawFlags&unix.IFF_RUNNING != 0
	if up == l.up {
		return
	}
	l.up = up
	if !up {
		l.end()
		m.log.Printf("%s: the link is down", l.name)
		return
	}
	l.four, l.six = part{got: l.four.got}, part{got: l.six.got}
	l.stop = m.start(ctx, attrs)
}

// isCard tells whether an interface is a piece of hardware, or a hypervisor's,
// for ethernet, and not part of another one (as Azure's are in pairs).
func isCard(a *netlink.LinkAttrs) bool {
	sys := filepath.Join("/sys/class/net", a.Name)
	_, err := os.Stat(filepath.Join(sys, "device"))
	_, wireless := os.Stat(filepath.Join(sys, "wireless"))
	return a.EncapType == "ether" && a.MasterIndex == 0 && err == nil && wireless != nil
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
	p := l.of(e.family)
	if e.problem != nil {
		if text := e.problem.Error(); text != p.problem {
			p.problem = text
			m.log.Printf("%s: %s", l.name, text)
		}
		return nil
	}
	if e.said != "" && e.said != p.said {
		m.log.Printf("%s: %s", l.name, e.said)
	}
	*p = part{got: e.got, settled: e.settled, said: e.said}
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
		for _, p := range []part{l.four, l.six} {
			if p.got != nil {
				all = append(all, p.got)
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

func (l *link) configured() bool { return l.four.got != nil || l.six.got != nil }

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
		if l.up || !some || slices.Contains(m.o.patterns, l.name) {
			if what := l.missing(m.o); what != "" {
				out = append(out, l.name+": "+what)
			}
		}
	}
	return out
}

// missing says what is in the way of an interface; "" for nothing.
func (l *link) missing(o options) string {
	switch {
	case !l.up && l.failed != nil:
		return l.failed.Error()
	case !l.up:
		return "no link: is it connected to a network?"
	case o.family(v4) && !l.four.settled:
		return cmp.Or(l.four.problem, errNoOffer.Error())
	case o.family(v6) && !l.six.settled || !l.configured():
		return cmp.Or(l.six.problem, "no router answers")
	}
	return ""
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
