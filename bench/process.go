package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is what one run of a program cost.
type Sample struct {
	Seconds float64 `json:"seconds"` // from its start to its end
	CPU     float64 `json:"cpu"`     // seconds of processors' time, which other programs change little
	Memory  int64   `json:"memory"`  // bytes that were resident at most
	IO
}

// IO is what processes read and wrote, as /proc/PID/io has it
// (Documentation/filesystems/proc.rst, 3.3).
type IO struct {
	Read      int64 `json:"read"`      // bytes of read calls and the like: files and sockets
	Written   int64 `json:"written"`   // bytes of write calls and the like
	DiskRead  int64 `json:"diskRead"`  // bytes that came from a disk
	DiskWrite int64 `json:"diskWrite"` // bytes of pages that are to go to a disk
}

func (a IO) plus(b IO) IO {
	return IO{a.Read + b.Read, a.Written + b.Written, a.DiskRead + b.DiskRead, a.DiskWrite + b.DiskWrite}
}

func (a IO) minus(b IO) IO {
	return IO{a.Read - b.Read, a.Written - b.Written, a.DiskRead - b.DiskRead, a.DiskWrite - b.DiskWrite}
}

// readIO reads what a process and its children that have ended read and wrote.
func readIO(pid int) (IO, error) {
	var out IO
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return out, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "rchar":
			out.Read = n
		case "wchar":
			out.Written = n
		case "read_bytes":
			out.DiskRead = n
		case "write_bytes":
			out.DiskWrite = n
		}
	}
	return out, nil
}

// userHertz is the unit of times in /proc: on every architecture that Go has.
const userHertz = 100

// readCPU is how many seconds of processors' time a process and its children
// that have ended took.
func readCPU(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after the program's name
	f := strings.Fields(rest)
	if len(f) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(f))
	}
	sum := 0.0
	for _, ticks := range f[11:15] { // utime stime cutime cstime
		n, err := strconv.ParseFloat(ticks, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += n
	}
	return sum / userHertz, nil
}

// watchArg as the first argument makes this program run the rest as a command,
// and tell what that cost. A process begins with the peak of memory of the one
// that started it, so that has to be a small one.
const watchArg = "watch"

// watch runs a command and writes its Sample to report.
func watch(args []string, report io.Writer) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	s := Sample{Seconds: time.Since(began).Seconds()}
	var err error
	if s.IO, err = readIO(cmd.Process.Pid); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	s.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.Memory = u.Maxrss << 10
	}
	return json.NewEncoder(report).Encode(s)
}

// measure runs a command with env added to its environment.
func measure(ctx context.Context, env []string, args ...string) (Sample, error) {
	var s Sample
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return s, err
	}
	defer r.Close()
	defer w.Close()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, append([]string{watchArg}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	w.Close()
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return s, fmt.Errorf("reading what %s cost: %w", args[0], err)
	}
	return s, nil
}
