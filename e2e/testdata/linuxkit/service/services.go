package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

const (
	containerd = "/usr/bin/containerd"
	socket     = "/run/containerd/containerd.sock"
	options    = "/etc/containerd/runtime-config.toml"
)

// services starts containerd, and then the containers below dir one after the
// other. It leaves them to themselves.
func services(ctx context.Context, dir string) error {
	if err := start(); err != nil {
		return err
	}
	c, err := client.New(socket)
	if err != nil {
		return err
	}
	defer c.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // there are none
	}
	for _, e := range entries {
		if err := service(ctx, c, filepath.Join(dir, e.Name())); err != nil {
			fmt.Fprintf(os.Stderr, "stand-in service: %s: %v\n", e.Name(), err)
		}
	}
	return nil
}

// start starts containerd and waits for its socket.
func start() error {
	config := map[string]string{}
	if f, err := os.Open(options); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), "=")
			config[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	cmd := exec.Command(containerd, strings.Fields(config["cliopts"])...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if name := config["stdout"]; strings.HasPrefix(name, "/") {
		out, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func service(ctx context.Context, c *client.Client, dir string) error {
	r, spec, err := open(dir)
	if err != nil {
		return err
	}
	namespace, name := r.Namespace, filepath.Base(dir)
	if namespace == "" {
		namespace = "services.linuxkit"
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	spec.Root.Path = filepath.Join(dir, "rootfs")
	container, err := c.NewContainer(ctx, name, client.WithSpec(spec))
	if err != nil {
		return err
	}
	task, err := container.NewTask(ctx, func(string) (cio.IO, error) { return outputs(name) })
	if err != nil {
		return err
	}
	if err := r.bind(int(task.Pid())); err != nil {
		return err
	}
	return task.Start(ctx)
}

// files are the outputs of a container that writes to files.
type files struct{ config cio.Config }

func (f files) Config() cio.Config { return f.config }
func (files) Cancel()              {}
func (files) Wait()                {}
func (files) Close() error         { return nil }

// outputs makes the logs of a service: NAME.out.log, and NAME.log for stderr.
func outputs(name string) (cio.IO, error) {
	out, errs := filepath.Join("/var/log", name+".out.log"), filepath.Join("/var/log", name+".log")
	for _, f := range []string{out, errs} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			return nil, err
		}
	}
	return files{cio.Config{Stdin: os.DevNull, Stdout: out, Stderr: errs}}, nil
}
