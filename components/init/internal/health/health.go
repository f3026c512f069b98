// Package health finds out whether a service works, by asking it again and again.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lkx-os/lkx/components/internal/bundle"
)

// What a healthcheck does where it does not say.
const (
	interval = 10 * time.Second
	timeout  = 3 * time.Second
	retries  = 3
)

// eager is how often a service is checked that has not been healthy yet, so
// that those that wait for it need not wait long.
const eager = time.Second

// ErrNotMade is what an error wraps that says nothing about the service, as its
// check could not be made.
var ErrNotMade = errors.New("the check could not be made")

// Target is the container that is checked.
type Target struct {
	// Net is the file of its network namespace, "/proc/PID/ns/net".
	Net string
	// Exec runs a command in it, killed when ctx is done; an error unless its
	// status is 0.
	Exec func(ctx context.Context, args []string) error
}

// Check is a healthcheck.
type Check struct {
	Interval    time.Duration // from the end of a check to the next
	Timeout     time.Duration // of one check
	StartPeriod time.Duration // after the start of the container, in which failures do not count
	Retries     int           // failures one after the other that make a service unhealthy

	probe func(context.Context, Target) error
}

// New reads the healthcheck of a runtime.json.
func New(h *bundle.Healthcheck) (*Check, error) {
	c := &Check{Retries: cmp.Or(h.Retries, retries)}
	if c.Retries < 0 {
		return nil, fmt.Errorf("retries: %d is less than 1", h.Retries)
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
		usual      time.Duration
		zero       bool // may be 0
	}{
		{"interval", h.Interval, &c.Interval, interval, false},
		{"timeout", h.Timeout, &c.Timeout, timeout, false},
		{"startPeriod", h.StartPeriod, &c.StartPeriod, 30 * time.Second, true},
	} {
		*d.to = d.usual
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil || v < 0 || v == 0 && !d.zero {
			return nil, fmt.Errorf("%s: %q is not a time such as 10s", d.name, d.text)
		}
		*d.to = v
	}
	var err error
	c.probe, err = newProbe(h)
	return c, err
}

// newProbe is the one check that h asks for.
func newProbe(h *bundle.Healthcheck) (func(context.Context, Target) error, error) {
	switch {
	case len(h.Exec) > 0 && h.TCP == "" && h.HTTP == "":
		return func(ctx context.Context, t Target) error { return t.Exec(ctx, h.Exec) }, nil
	case len(h.Exec) == 0 && h.TCP != "" && h.HTTP == "":
		return tcpProbe(h.TCP)
	case len(h.Exec) == 0 && h.TCP == "" && h.HTTP != "":
		return httpProbe(h.HTTP)
	}
	return nil, errors.New("wants one of exec, tcp, http")
}

// Watch checks t, which starts now, until it is unhealthy or ctx is done, and
// returns the last failure or ctx's error. After the first success it calls
// healthy, once.
func (c *Check) Watch(ctx context.Context, t Target, healthy func()) error {
	started := time.Now()
	pace, failures := min(eager, c.Interval), 0
	for sleep(ctx, pace) {
		err := c.once(ctx, t)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if healthy != nil {
				healthy()
				healthy = nil
			}
			pace, failures = c.Interval, 0
		case errors.Is(err, ErrNotMade) || time.Since(started) < c.StartPeriod:
		default:
			if failures++; failures >= c.Retries {
				return err
			}
		}
	}
	return ctx.Err()
}

// once makes one check.
func (c *Check) once(ctx context.Context, t Target) error {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	err := c.probe(limited, t)
	if err != nil && limited.Err() != nil {
		return fmt.Errorf("no success within %v: %w", c.Timeout, err)
	}
	return err
}

// sleep waits, and tells whether ctx was not done before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
