package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lkx-os/lkx/components/internal/bundle"
)

func TestNew(t *testing.T) {
	type numbers struct {
		interval, timeout, start time.Duration
		retries                  int
	}
	for _, c := range []struct {
		in   bundle.Healthcheck
		want numbers
	}{
		{bundle.Healthcheck{Exec: []string{"/x"}}, numbers{10 * time.Second, 3 * time.Second, 30 * time.Second, 3}},
		{
			bundle.Healthcheck{TCP: "80", Interval: "1m", Timeout: "500ms", Retries: 1, StartPeriod: "20s"},
			numbers{time.Minute, 500 * time.Millisecond, 20 * time.Second, 1},
		},
		{bundle.Healthcheck{TCP: "[::1]:80", StartPeriod: "0s"}, numbers{10 * time.Second, 3 * time.Second, 0, 3}},
		{bundle.Healthcheck{HTTP: "http://:8080/healthz"}, numbers{10 * time.Second, 3 * time.Second, 30 * time.Second, 3}},
	} {
		got, err := New(&c.in)
		if err != nil {
			t.Errorf("%+v: %v", c.in, err)
		} else if n := (numbers{got.Interval, got.Timeout, got.StartPeriod, got.Retries}); n != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.in, n, c.want)
		}
	}
	for _, bad := range []bundle.Healthcheck{
		{},
		{Exec: []string{"/x"}, TCP: "80"},
		{TCP: "80", HTTP: "http://localhost/"},
		{TCP: "http"},
		{TCP: "a:b:80"},
		{TCP: "70000"},
		{HTTP: "https://localhost/"},
		{HTTP: "localhost:80"},
		{HTTP: "http://localhost:0/"},
		{TCP: "80", Interval: "10"},
		{TCP: "80", Interval: "0s"},
		{TCP: "80", Timeout: "-1s"},
		{TCP: "80", StartPeriod: "soon"},
		{TCP: "80", Retries: -1},
	} {
		if _, err := New(&bad); err == nil {
			t.Errorf("%+v gave no error", bad)
		}
	}
}

// script is a check whose results are given one after the other, the last one
// for ever, and that notes when it was made.
type script struct {
	results []error
	start   time.Time
	at      []time.Duration
}

func (s *script) probe(context.Context, Target) error {
	s.at = append(s.at, time.Since(s.start))
	return s.results[min(len(s.at), len(s.results))-1]
}

func seconds(list ...int) []time.Duration {
	var out []time.Duration
	for _, n := range list {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

func TestWatch(t *testing.T) {
	bad, away := errors.New("bad"), fmt.Errorf("%w: away", ErrNotMade)
	for name, c := range map[string]struct {
		results []error
		start   time.Duration
		at      []time.Duration
		healthy []time.Duration
	}{
		"never":                    {[]error{bad}, 0, seconds(1, 2, 3), nil},
		"never, with start period": {[]error{bad}, 4 * time.Second, seconds(1, 2, 3, 4, 5, 6), nil},
		"late":                     {[]error{bad, bad, nil, bad}, 0, seconds(1, 2, 3, 13, 23, 33), seconds(3)},
		"in start period":          {[]error{nil, bad}, 20 * time.Second, seconds(1, 11, 21, 31, 41), seconds(1)},
		"now and then":             {[]error{nil, bad, bad, nil, bad}, 0, seconds(1, 11, 21, 31, 41, 51, 61), seconds(1)},
		"not made":                 {[]error{nil, bad, away, bad, away, bad}, 0, seconds(1, 11, 21, 31, 41, 51), seconds(1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{results: c.results, start: time.Now()}
				check := &Check{Interval: 10 * time.Second, Timeout: time.Second, StartPeriod: c.start, Retries: 3, probe: s.probe}
				var healthy []time.Duration
				err := check.Watch(t.Context(), Target{}, func() { healthy = append(healthy, time.Since(s.start)) })
				if !errors.Is(err, bad) {
					t.Errorf("got %v", err)
				}
				if !slices.Equal(s.at, c.at) || !slices.Equal(healthy, c.healthy) {
					t.Errorf("checked at %v, healthy at %v; want %v, %v", s.at, healthy, c.at, c.healthy)
				}
			})
		})
	}
}

func TestWatchInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{results: []error{errors.New("bad")}, start: time.Now()}
		check := &Check{Interval: 100 * time.Millisecond, Timeout: time.Second, Retries: 2, probe: s.probe}
		if err := check.Watch(t.Context(), Target{}, nil); err == nil || time.Since(s.start) != 200*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(s.start))
		}
	})
}

func TestWatchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ []string) error { <-ctx.Done(); return ctx.Err() }
		check, err := New(&bundle.Healthcheck{Exec: []string{"/x"}, Retries: 2, StartPeriod: "0s"})
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		err = check.Watch(t.Context(), Target{Exec: hang}, func() { t.Error("healthy") })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != 8*time.Second {
			t.Errorf("got %v after %v", err, time.Since(started))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		check.Retries = 1
		if err := check.Watch(ctx, Target{Exec: hang}, nil); err != ctx.Err() || time.Since(started) != 9500*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(started))
		}
	})
}
