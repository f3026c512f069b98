package oneshot

import (
	"errors"
	"testing"
	"time"

	"github.com/lkx-os/lkx/components/init/internal/record"
	"github.com/lkx-os/lkx/components/internal/bundle"
	"github.com/lkx-os/lkx/components/internal/uptime"
)

func TestEnded(t *testing.T) {
	for want, err := range map[string]error{
		"finished: status 0": nil,
		"failed: status 3":   &ExitError{"000-a", "exited with status 3"},
		"failed: killed: x":  &ExitError{"000-a", "killed: x"},
		"failed: 000-a: x":   errors.New("000-a: x"),
	} {
		r := record.Record{State: record.Running, Cgroup: "/onboot/000-a", Since: uptime.Now() - time.Second}
		ended(err)(&r)
		if got := string(r.State) + ": " + r.LastExit; got != want || r.Took < time.Second || r.Cgroup != "" {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
}

// TestKilledInTheEnd has a runtime that gets no time after SIGTERM: 0 must not
// mean for ever.
func TestKilledInTheEnd(t *testing.T) {
	cmd := (&Runner{}).command(t.Context(), &bundle.Bundle{}, "/", nil)
	if cmd.WaitDelay <= 0 {
		t.Errorf("it is waited for %v", cmd.WaitDelay)
	}
}
