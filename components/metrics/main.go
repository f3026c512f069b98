// Command metrics tells a Prometheus server how the machine and its containers
// do, at :9100/metrics. What node_exporter and cAdvisor tell too has their names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("metrics", flag.ContinueOnError)
	listen := f.String("listen", ":9100", "`ADDRESS` to answer on")
	if err := f.Parse(args); err != nil {
		return err
	}
	s := sources{proc: "/proc", sys: "/sys", host: "/host"}
	server := &http.Server{
		Addr: *listen, Handler: handler(s, log.New(os.Stderr, "metrics: ", 0)),
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 14,
	}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return fmt.Errorf("listening: %w", err)
	}
	return nil
}

func handler(s sources, logger *log.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		p, err := s.collect()
		if err != nil { // the rest is told all the same
			logger.Print(err)
		}
		// Prometheus' text format (prometheus.io, "Exposition formats").
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = p.WriteTo(w) // an error is the client's
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html><title>metrics</title><a href="/metrics">metrics</a>`+"\n")
	})
	return mux
}

// sources are where everything is read from.
type sources struct {
	proc string // the host's processes: /proc
	sys  string // /sys, with the cgroups
	host string // the host's root, with what is mounted in it
}

// collect reads everything. What cannot be read is missing, and in the error.
func (s sources) collect() (*page, error) {
	p := &page{}
	begun := time.Now()
	var errs []error
	for _, part := range []struct {
		name string
		read func(*page) error
	}{
		{"stat", s.stat},
		{"loadavg", s.load},
		{"meminfo", s.memory},
		{"vmstat", s.vmstat},
		{"filefd", s.files},
		{"uname", s.uname},
		{"netdev", s.network},
		{"diskstats", s.disks},
		{"filesystem", s.fileSystems},
		{"pressure", s.pressure},
		{"container", s.containers},
	} {
		err, success := part.read(p), 1.0
		if err != nil {
			errs, success = append(errs, fmt.Errorf("%s: %w", part.name, err)), 0
		}
		p.add("node_scrape_collector_success", gauge, "Whether a collector read all that it tells.", success, "collector", part.name)
	}
	p.add("node_scrape_duration_seconds", gauge, "How long all of this took to read.", time.Since(begun).Seconds())
	return p, errors.Join(errs...)
}
