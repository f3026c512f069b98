// Package scripts runs the programs that images made for LinuxKit's init bring
// in /etc/init.d and /etc/shutdown.d, among what the system does there itself.
package scripts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lkx-os/lkx/components/init/internal/reap"
	"github.com/lkx-os/lkx/components/init/internal/remind"
)

// Where LinuxKit's images have what is to be run at the start and at the end.
const (
	Start = "/etc/init.d"
	End   = "/etc/shutdown.d"
)

// The places that the system's own work has among the programs. LinuxKit's
// images have links of these names to its program; this system does without.
const (
	Volumes    = "005-volumes"
	Onboot     = "010-onboot"
	Containerd = "020-containerd"
	Onshutdown = "010-onshutdown"
)

// service is LinuxKit's program, which links in the directories lead to.
const service = "/usr/bin/service"

// Runner runs programs. They have Reaper's environment and outputs.
type Runner struct {
	Log         *log.Logger
	Kids        *reap.Reaper
	Environment []string
}

// Run runs the programs of dir whose names are not less than from and less than
// to, "" for no bound, in the order of their names and each to its end. When ctx
// is done it kills the one that runs. What fails is said and passed over, as
// LinuxKit does.
func (r *Runner) Run(ctx context.Context, dir, from, to string) {
	names, err := programs(dir)
	if err != nil {
		r.Log.Print(err)
	}
	for _, name := range names {
		if ctx.Err() != nil || filepath.Base(name) < from || to != "" && filepath.Base(name) >= to {
			continue
		}
		if err := r.one(ctx, name); err != nil {
			r.Log.Printf("%s: %v", name, err)
		}
	}
}

// programs are the regular files of dir, and those that links lead to, without
// what stands for the system's own work. None where dir is missing.
func programs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing programs: %w", err)
	}
	var out []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if slices.Contains([]string{Volumes, Onboot, Containerd, Onshutdown}, e.Name()) || target(name) == service {
			continue
		}
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			out = append(out, name)
		}
	}
	return out, nil
}

// target is where the link name leads to in one step, "" if it is none.
func target(name string) string {
	link, err := os.Readlink(name)
	if err != nil {
		return ""
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join(filepath.Dir(name), link)
	}
	return filepath.Clean(link)
}

// one runs a program to its end.
func (r *Runner) one(ctx context.Context, name string) error {
	child, err := r.Kids.Start(name, nil, r.Environment)
	if err != nil {
		return explain(name, err)
	}
	defer remind.While(func(waited time.Duration) {
		r.Log.Printf("waiting for %s to end, %v by now", name, waited)
	})()
	stop := ctx.Done()
	for {
		select {
		case status := <-child.Done:
			return ended(status)
		case <-stop:
			if err := unix.Kill(child.Pid, unix.SIGKILL); err != nil {
				return fmt.Errorf("killing it: %w", err)
			}
			stop = nil
		}
	}
}

func ended(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("ended by signal %d (%v)", status.Signal(), status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exited with status %d", status.ExitStatus())
	}
	return nil
}

// explain says why a program that is there could not be started.
func explain(name string, err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return errors.New("passed over: it is not executable")
	case !errors.Is(err, unix.ENOENT):
		return fmt.Errorf("passed over: %w", err)
	}
	if i := interpreter(name); i != "" {
		return fmt.Errorf("passed over: it is a script for %s, which is not there; add an image that has it to the manifest's init", i)
	}
	return errors.New("passed over: the loader for its libraries is not there; add an image that has it to the manifest's init")
}

// interpreter is the program that runs the script name, "" if it is no script
// (execve(2), "Interpreter scripts").
func interpreter(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _, _ := bufio.NewReader(f).ReadLine() // what cannot be read is no script
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	words := strings.Fields(string(rest))
	if !ok || len(words) == 0 {
		return ""
	}
	return words[0]
}
