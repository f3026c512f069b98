package lkxctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/control"
	"github.com/lkx-os/lkx/components/init/internal/record"
)

// ls shows all containers.
func (c *ctl) ls(ctx context.Context, args []string) error {
	f := flags("ls")
	asJSON := f.Bool("json", false, "")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	all, err := c.ask(ctx, control.Request{Do: "containers"}, nil)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.json(all.Containers)
	}
	return table(c.stdout, all.Containers)
}

func (c *ctl) json(v any) error {
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// table is a row for each container.
func table(w io.Writer, all []control.Container) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tREADY\tPID\tRESTARTS\tTIME\tMEMORY\tCPU\tLAST EXIT")
	for _, x := range all {
		name := x.Name
		if x.Kind == "onboot" || x.Kind == "onshutdown" {
			name = x.Kind + "/" + x.Name
		}
		cells := []string{
			name, string(x.State), readiness(x), number(x.PID), strconv.Itoa(x.Restarts), length(x.Age),
			amount(x.Memory), spent(x.CPU), lastExit(x.LastExit),
		}
		if x.State == record.Finished || x.State == record.Failed {
			cells[5] = length(x.Took)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func readiness(x control.Container) string {
	switch {
	case x.Health != "":
		return x.Health
	case x.Ready:
		return "yes"
	case x.Kind == "onboot" || x.Kind == "onshutdown" || x.State == record.Finished:
		return "-"
	}
	return "no"
}

// longest is how much of an error is shown in a table.
const longest = 60

// lastExit names the signal of a status that is 128 and its number.
func lastExit(text string) string {
	if text == "" {
		return "-"
	}
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(text, "status ")); err == nil && n > 128 {
		if name := unix.SignalName(unix.Signal(n - 128)); name != "" {
			return fmt.Sprintf("%s (%s)", text, name)
		}
	}
	return text
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// length is a time without what nobody wants to know.
func length(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Second).String(), "0s")
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// spent is time of the processor.
func spent(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

// amount is a number of bytes in MiB.
func amount(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
}

// status shows the machine as a whole.
func (c *ctl) status(ctx context.Context, args []string) error {
	f := flags("status")
	asJSON := f.Bool("json", false, "")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	s, err := c.ask(ctx, control.Request{Do: "system"}, nil)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.json(s.System)
	}
	all, err := c.ask(ctx, control.Request{Do: "containers"}, nil)
	if err != nil {
		return err
	}
	overview(c.stdout, s.System, all.Containers)
	return nil
}

func overview(w io.Writer, s *control.System, all []control.Container) {
	stages := map[string]string{"onboot": "onboot containers run", "run": "up", "onshutdown": "going down"}
	fmt.Fprintf(w, "%s: %s, %s after kernel start; lkx %s, Linux %s\n", s.Hostname, stages[s.Stage], length(s.Uptime), s.Version, s.Kernel)
	fmt.Fprintf(w, "memory: %s of %s available\n", amount(s.Available), amount(s.Memory))
	for _, x := range all {
		if x.Kind == "system" {
			fmt.Fprintf(w, "%s: %s%s, %d restarts%s\n", x.Name, x.State, prefixed(", pid ", number(x.PID)), x.Restarts,
				prefixed(", last exit ", lastExit(x.LastExit)))
		}
	}
	for _, kind := range []string{"service", "onboot", "onshutdown"} {
		counts := map[record.State]int{}
		for _, x := range all {
			if x.Kind == kind {
				counts[x.State]++
			}
		}
		var parts []string
		for state, n := range counts {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
		slices.Sort(parts)
		if len(parts) > 0 {
			fmt.Fprintf(w, "%s: %s\n", kind, strings.Join(parts, ", "))
		}
	}
}
