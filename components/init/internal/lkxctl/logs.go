package lkxctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/lkx-os/lkx/components/init/internal/control"
	"github.com/lkx-os/lkx/components/internal/memlog"
)

// logs shows what containers said.
func (c *ctl) logs(ctx context.Context, args []string) error {
	f := flags("logs")
	follow := f.Bool("f", false, "")
	lines := f.Int("n", -1, "")
	times := f.Bool("t", false, "")
	out := f.Bool("stdout", false, "")
	errs := f.Bool("stderr", false, "")
	names, err := parse(f, args, -1)
	if err != nil {
		return err
	}
	r := control.Request{Do: "logs", Names: names, Follow: *follow}
	if *lines >= 0 {
		r.Lines = lines
	}
	if *out != *errs {
		r.Stream = map[bool]string{true: "out", false: "err"}[*out]
	}
	show := func(e memlog.Entry) {
		if e.Time.After(r.Since) {
			r.Since = e.Time
		}
		if *times {
			fmt.Fprint(c.stdout, e.Time.Format("2006-01-02T15:04:05.000Z07:00 "))
		}
		if len(names) != 1 {
			fmt.Fprintf(c.stdout, "[%s] ", e.Source)
		}
		fmt.Fprintln(c.stdout, e.Msg)
	}
	_, err = c.ask(ctx, r, show)
	for *follow && err == nil {
		// lkx-services is gone, and will be back unless the system goes down.
		fmt.Fprintln(c.stderr, "lkxctl: lkx-services has gone; connecting again")
		r.Lines = nil
		_, err = c.ask(ctx, r, show)
	}
	if errors.Is(err, context.Canceled) {
		return nil // by the user, who followed
	}
	return err
}
