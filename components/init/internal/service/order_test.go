package service

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// hold waits for names in the background and returns where its end is said.
func hold(t *testing.T, o *order, names ...string) <-chan error {
	result := make(chan error, 1)
	go func() { result <- o.wait(t.Context(), names, func([]string, time.Duration) {}) }()
	synctest.Wait()
	return result
}

func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		sets []state // of a, one after the other, while b is ready
		held bool
		err  string
	}{
		"nothing":           {nil, true, ""},
		"ready":             {[]state{ready}, false, ""},
		"finished":          {[]state{finished}, false, ""},
		"still unready":     {[]state{unready}, true, ""},
		"failed":            {[]state{failed}, false, "a failed"},
		"skipped":           {[]state{skipped}, false, "a was not started"},
		"ready for nothing": {[]state{ready, unready, failed}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrder()
				o.set("b", ready)
				result := hold(t, o, "a", "b")
				for _, s := range c.sets {
					o.set("a", s)
				}
				synctest.Wait()
				select {
				case err := <-result:
					if text := fmt.Sprint(err); c.held || err == nil && c.err != "" || err != nil && text != c.err {
						t.Errorf("got %v", err)
					}
				default:
					if !c.held {
						t.Error("still held")
					}
				}
			})
		})
	}
}

func TestOrderAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrder()
		result := hold(t, o, "a", "b")
		o.set("a", ready)
		o.set("a", unready)
		o.set("b", ready)
		synctest.Wait()
		if len(result) > 0 {
			t.Fatal("let go though a was not ready any more")
		}
		o.set("a", ready)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if err := o.wait(t.Context(), []string{"a", "b"}, nil); err != nil {
			t.Error(err)
		}
		if len(o.waiting) > 0 {
			t.Error("waiters are left")
		}
	})
}

func TestOrderSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrder()
		o.set("b", ready)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Second)
		defer cancel()
		var said []string
		err := o.wait(ctx, []string{"a", "b", "c", "a"}, func(missing []string, waited time.Duration) {
			said = append(said, fmt.Sprint(missing, waited))
		})
		want := []string{"[a c] 10s", "[a c] 30s", "[a c] 1m0s", "[a c] 2m0s", "[a c] 3m0s"}
		if err != ctx.Err() || !slices.Equal(said, want) {
			t.Errorf("got %v and %q, want %q", err, said, want)
		}
		if len(o.waiting) > 0 {
			t.Error("waiters are left")
		}
	})
}
