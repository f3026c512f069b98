// Command logwrite takes what the system's containers say somewhere that lasts:
// to files, or to a syslog server.
//
//	logwrite [-dir DIR] [-max-size SIZE] [-max-files N]
//	logwrite -syslog udp://HOST:PORT|tcp://HOST:PORT
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/internal/backoff"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// options are the command line.
type options struct {
	socket string
	dir    string
	size   int64 // bytes of a file
	files  int   // of each log
	syslog string
}

func main() {
	logger := log.New(os.Stderr, "", 0)
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
		defer stop()
		err = run(ctx, logger, o)
	}
	if err != nil {
		logger.Fatalf("logwrite: %v", err)
	}
}

// parse reads the command line; LinuxKit's names of flags do, too.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("logwrite", flag.ContinueOnError)
	f.StringVar(&o.socket, "socket", "/run/log/memlogdq.sock", "`PATH` of the socket at which logs can be read")
	size := ""
	for _, name := range []string{"dir", "log-dir"} {
		f.StringVar(&o.dir, name, "/var/log/kept", "`DIR` of the files")
	}
	for _, name := range []string{"max-size", "max-log-size"} {
		f.StringVar(&size, name, "1M", "`SIZE` of a file at which it is begun anew, in bytes or with K, M or G")
	}
	for _, name := range []string{"max-files", "max-log-files"} {
		f.IntVar(&o.files, name, 10, "`NUMBER` of files of each log, the one being written among them")
	}
	f.StringVar(&o.syslog, "syslog", "", "send to a syslog server, udp://HOST:PORT or tcp://HOST:PORT, instead of writing files")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch o.size, err = parseSize(size); {
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: no arguments are wanted; see -help", f.Args())
	case o.files < 1:
		return o, fmt.Errorf("-max-files %d is less than 1", o.files)
	}
	return o, nil
}

// parseSize reads "1000", "64K", "1M", "2G"; the result is in bytes.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for suffix, n := range map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("-max-size %q is not a size such as 1M", text)
	}
	return n * unit, nil
}

// sink takes entries somewhere. An error is one that trying again will not
// mend, for this entry.
type sink interface {
	write(ctx context.Context, e memlog.Entry) error
	close()
}

// run takes logs to where they are wanted until ctx is done.
func run(ctx context.Context, logger *log.Logger, o options) error {
	to, err := newSink(logger, o)
	if err != nil {
		return err
	}
	defer to.close()
	c := copier{log: logger, to: to}
	var pause backoff.Backoff
	for ctx.Err() == nil {
		started := time.Now()
		err := c.copy(ctx, o.socket)
		if ctx.Err() != nil {
			break
		}
		wait := pause.Next(time.Since(started))
		logger.Printf("%v; again in %v", err, wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

func newSink(logger *log.Logger, o options) (sink, error) {
	if o.syslog != "" {
		return newSyslog(logger, o.syslog)
	}
	return newFiles(o)
}

// copier takes entries from a socket to a sink, each once.
type copier struct {
	log    *log.Logger
	to     sink
	last   time.Time // of the entries so far
	failed string    // what was wrong with the sink last, "" for nothing
}

// copy copies until the other side goes, or ctx is done. What it got from one
// that went before is not taken again.
func (c *copier) copy(ctx context.Context, socket string) error {
	since := c.last
	for e, err := range memlog.Query(ctx, socket, memlog.DumpFollow) {
		if err != nil {
			return err
		}
		// What is said here would come back.
		if strings.HasPrefix(e.Source, "logwrite") || !e.Time.After(since) {
			continue
		}
		if e.Time.After(c.last) {
			c.last = e.Time
		}
		c.tell(c.to.write(ctx, e))
	}
	return ctx.Err()
}

// tell says what is wrong with the sink, once, and when it is well again.
func (c *copier) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == c.failed:
		return
	case text == "":
		c.log.Print("written again")
	default:
		c.log.Print(text)
	}
	c.failed = text
}
