// Command metadata takes what the place where a machine runs says to it, its
// name, ssh keys and user data, and puts it into /run/config:
//
//	metadata [flags] [PROVIDER…]
//
// Without providers it looks for a disk with the label cidata, and then asks the
// cloud that the firmware names; that there is neither is no error. With
// providers they are asked in turn, and one must answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// data is what a provider says.
type data struct {
	host     string // name; "" for none
	instance string // an identifier; "" for none
	keys     []string
	user     []byte // nil for none
	// ready tells the provider that its data is in use; nil for those that do
	// not want to know.
	ready func(context.Context) error
}

// errAbsent is wrapped by the errors of providers that are not here.
var errAbsent = errors.New("not here")

// provider is a place to get data from.
type provider struct {
	fetch func(context.Context, client) (data, error)
	base  string         // URL; "" for what needs no network
	here  func(dmi) bool // whether the firmware names it
}

// local is the provider that needs no network.
const local = "cidata"

var providers = map[string]provider{
	"cidata":       {fetch: fetchDisk},
	"aws":          {fetch: fetchAWS, base: linkLocal, here: dmi.aws},
	"azure":        {fetch: fetchAzure, base: linkLocal, here: dmi.azure},
	"digitalocean": {fetch: fetchDigitalOcean, base: linkLocal, here: dmi.digitalOcean},
	"gcp":          {fetch: fetchGCP, base: linkLocal, here: dmi.gcp},
	"hetzner":      {fetch: fetchHetzner, base: linkLocal, here: dmi.hetzner},
	"openstack":    {fetch: fetchOpenStack, base: linkLocal, here: dmi.openStack},
}

// aliases are LinuxKit's names, and others'.
var aliases = map[string]string{"cdrom": "cidata", "nocloud": "cidata"}

// linkLocal is where clouds answer.
const linkLocal = "http://169.254.169.254"

// options are the command line.
type options struct {
	names   []string
	urls    map[string]string // by provider, instead of its own
	raw     bool
	timeout time.Duration
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "metadata:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	o := options{urls: map[string]string{}}
	f := flag.NewFlagSet("metadata", flag.ContinueOnError)
	f.DurationVar(&o.timeout, "timeout", 20*time.Second, "how long each provider is waited for")
	f.BoolVar(&o.raw, "raw", false, "leave user data as it is, whatever it looks like")
	f.Func("url", "`PROVIDER=URL`: ask there (azure-wire is where Azure is told that all is well)", func(text string) error {
		name, url, ok := strings.Cut(text, "=")
		if _, known := providers[name]; !ok || !known && name != wireServer {
			return fmt.Errorf("want PROVIDER=URL")
		}
		o.urls[name] = strings.TrimSuffix(url, "/")
		return nil
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for _, name := range f.Args() {
		if a, ok := aliases[name]; ok {
			name = a
		}
		path, isFile := strings.CutPrefix(name, "file=")
		if _, known := providers[name]; !known && (!isFile || path == "") {
			return o, fmt.Errorf("no provider %q; there are %s and file=PATH", name, strings.Join(names(), ", "))
		}
		o.names = append(o.names, name)
	}
	return o, nil
}

// names are those of all providers.
func names() []string {
	var out []string
	for name := range providers {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func run(o options) error {
	list := o.names
	if len(list) == 0 {
		list = guess(readDMI("/sys/class/dmi/id"))
	}
	var absent []string
	for _, name := range list {
		d, err := fetch(o, name)
		if errors.Is(err, errAbsent) {
			absent = append(absent, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		if err == nil {
			err = use(name, d, o)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	said := strings.Join(absent, "; ")
	if len(o.names) == 0 && len(list) == 1 {
		fmt.Printf("metadata: none: %s; the firmware names no cloud\n", said)
		return nil
	}
	return errors.New(said)
}

// guess is a disk, and the cloud that the firmware names.
func guess(id dmi) []string {
	out := []string{local}
	for _, name := range names() {
		if here := providers[name].here; here != nil && here(id) {
			out = append(out, name)
		}
	}
	return out
}

// fetch asks one provider, for as long as the time limit is.
func fetch(o options, name string) (data, error) {
	if path, ok := strings.CutPrefix(name, "file="); ok {
		return fetchFile(path)
	}
	limit := o.timeout
	if name == local && len(o.names) == 0 {
		limit = 0 // it is there when the system boots, or it is not
	}
	p := providers[name]
	c := client{base: p.base, wire: o.urls[wireServer]}
	if url := o.urls[name]; url != "" {
		c.base = url
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return p.fetch(ctx, c)
}

// use checks all that is in the data, and only then writes it.
func use(name string, d data, o options) error {
	c, err := interpret(name, d, o.raw)
	if err != nil {
		return err
	}
	if err := c.write(); err != nil {
		return err
	}
	for _, w := range c.warnings {
		fmt.Println("metadata: warning:", w)
	}
	fmt.Printf("metadata: %s: host name %q, %d ssh keys, %d bytes of user data; %d files written\n",
		name, c.host, c.keys, len(d.user), len(c.files))
	if d.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	if err := d.ready(ctx); err != nil {
		fmt.Println("metadata: warning: telling", name, "that the system is ready:", err)
	}
	return nil
}
