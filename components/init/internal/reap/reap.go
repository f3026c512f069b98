// Package reap starts processes and waits for all that end, its own and those
// that lost their parents, as the first process of a system must.
package reap

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reaper is the parent of all. Nothing else in the process may wait for
// children, as os/exec does.
type Reaper struct {
	mu    sync.Mutex
	mine  map[int]chan<- syscall.WaitStatus
	child chan os.Signal
}

// New starts to reap.
func New() *Reaper {
	r := &Reaper{mine: map[int]chan<- syscall.WaitStatus{}, child: make(chan os.Signal, 1)}
	signal.Notify(r.child, unix.SIGCHLD)
	go r.run()
	return r
}

func (r *Reaper) run() {
	for range r.child {
		for r.one() {
		}
	}
}

// one reaps one child and tells whether there was one. The lock keeps Start
// from being overtaken by the end of what it starts.
func (r *Reaper) one() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err == syscall.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if done := r.mine[pid]; done != nil {
		done <- status
		delete(r.mine, pid)
	}
	return true
}

// Child is a process that was started here.
type Child struct {
	Pid  int
	Done <-chan syscall.WaitStatus // gets one status, when it ended
}

// Start runs a program in a session of its own, with no input and with this
// process's outputs.
func (r *Reaper) Start(path string, args, env []string) (*Child, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	defer null.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{
		Dir: "/", Env: env, Files: []uintptr{null.Fd(), 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	done := make(chan syscall.WaitStatus, 1)
	r.mine[pid] = done
	return &Child{Pid: pid, Done: done}, nil
}

// Alone tells whether this process has no children, and so, being the parent of
// all, whether there are no others.
func (r *Reaper) Alone() bool {
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == unix.ECHILD
}
