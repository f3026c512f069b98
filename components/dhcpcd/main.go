// Command dhcpcd configures network interfaces as servers and routers say: by
// DHCPv4 (RFC 2131), router advertisements and DHCPv6 (RFC 8415).
//
//	dhcpcd [flags] [INTERFACE…]
//
// Interfaces are names or patterns; without, all ethernet cards are configured.
// With -1 it ends when they are, else it keeps them so, as links come and go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lkx-os/lkx/components/internal/uptime"
)

func main() {
	logger := log.New(os.Stdout, "dhcpcd: ", 0)
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		logger.Print(err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o, logger); err != nil {
		logger.Print(err)
		if o.optional {
			logger.Print("-optional: the boot goes on")
			return
		}
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	once     bool
	optional bool
	only     int // v4 or v6; 0 for both
	timeout  time.Duration
	dns      []netip.Addr
	patterns []string // of interfaces; none for all cards
	ignored  []string
}

func run(ctx context.Context, o options, logger *log.Logger) error {
	if len(o.ignored) > 0 {
		logger.Printf("ignored, it has no meaning here: %s", strings.Join(o.ignored, " "))
	}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return err
	}
	m := &manager{
		o: o, log: logger, sys: system{stay: o.once, now: uptime.Now},
		events: make(chan event), links: map[int]*link{},
	}
	return m.run(ctx)
}

// parse reads the command line. What other programs of this name understand,
// and this one has no use for, is taken and ignored.
func parse(args []string) (options, error) {
	o := options{timeout: 30 * time.Second}
	fs := flag.NewFlagSet("dhcpcd", flag.ContinueOnError)
	var four, six bool
	for _, name := range []string{"1", "oneshot"} {
		fs.BoolVar(&o.once, name, false, "end when the interfaces are configured, with an error if they are not in time")
	}
	for _, name := range []string{"4", "ipv4only"} {
		fs.BoolVar(&four, name, false, "no IPv6")
	}
	for _, name := range []string{"6", "ipv6only"} {
		fs.BoolVar(&six, name, false, "no DHCPv4")
	}
	fs.BoolVar(&o.optional, "optional", false, "with -1: say what is wrong, but end with status 0")
	for _, name := range []string{"t", "timeout"} {
		fs.Func(name, "with -1: `TIME` that it may take, in seconds or as 1m30s (default 30s)", func(s string) (err error) {
			o.timeout, err = duration(s)
			return err
		})
	}
	fs.Func("dns", "`ADDRESS,…` of name servers, instead of those that servers name", func(s string) error {
		for word := range strings.SplitSeq(s, ",") {
			a, err := netip.ParseAddr(word)
			if err != nil {
				return err
			}
			o.dns = append(o.dns, a)
		}
		return nil
	})
	ignore(fs, &o.ignored)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case four && six:
		return o, errors.New("-4 and -6 leave nothing to do: give one of them")
	case four:
		o.only = v4
	case six:
		o.only = v6
	}
	o.patterns = fs.Args()
	for _, p := range o.patterns {
		if _, err := path.Match(p, ""); err != nil {
			return o, fmt.Errorf("%q is no pattern of interfaces: %w", p, err)
		}
	}
	return o, nil
}

// ignore takes what dhcpcd(8) has and this program does anyway, or cannot do.
func ignore(fs *flag.FlagSet, list *[]string) {
	for _, name := range []string{"B", "nobackground", "b", "background", "q", "quiet", "d", "debug", "w", "L", "noipv4ll", "p", "persistent", "A", "noarp"} {
		fs.BoolFunc(name, "ignored", func(string) error {
			*list = append(*list, "-"+name)
			return nil
		})
	}
	for _, name := range []string{"f", "config"} {
		fs.Func(name, "ignored: there is no configuration `FILE`", func(s string) error {
			*list = append(*list, "-"+name+" "+s)
			return nil
		})
	}
}

// duration reads seconds, or 1m30s.
func duration(s string) (time.Duration, error) {
	if n, err := strconv.Atoi(s); err == nil {
		s = fmt.Sprintf("%ds", n)
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%q is not a time to wait", s)
	}
	return d, err
}
