package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const runc = "/usr/bin/runc"

// oneshots runs the containers below dir, one after the other. One that fails is
// passed over.
func oneshots(dir, kind string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // there are none
	}
	logs := filepath.Join("/run/log", kind)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	// Of runc's child this process becomes the parent when runc has ended.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Printf("%s %s: from %s\n", kind, e.Name(), filepath.Join(dir, e.Name()))
		if err := oneshot(filepath.Join(dir, e.Name()), filepath.Join(logs, e.Name()+".log")); err != nil {
			fmt.Printf("stand-in service: %s: %v\n", e.Name(), err)
		}
	}
	return nil
}

// oneshot runs a container to its end, and shows on the console what it said.
func oneshot(dir, log string) error {
	r, _, err := open(dir)
	if err != nil {
		return err
	}
	out, err := os.Create(log)
	if err != nil {
		return err
	}
	defer out.Close()
	name, pidFile := filepath.Base(dir), log+".pid"
	if err := call(out, "create", "--bundle", dir, "--pid-file", pidFile, name); err != nil {
		return err
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	if err := r.bind(pid); err != nil {
		return err
	}
	if err := call(out, "start", name); err != nil {
		return err
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		return err
	}
	_ = unix.Unmount(filepath.Join(dir, "rootfs"), 0) // what cannot be let go stays
	said, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(said)
	return err
}

func call(out *os.File, args ...string) error {
	cmd := exec.Command(runc, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name()) // it may say why
		return fmt.Errorf("runc %s: %w\n%s", args[0], err, said)
	}
	return nil
}
