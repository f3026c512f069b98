package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	version "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	containerdBinary = "/usr/bin/containerd"
	containerdSocket = "/run/containerd/containerd.sock"
	// defaultNamespace is where services are, unless they say otherwise.
	defaultNamespace = "services.linuxkit"
)

// daemon is containerd.
type daemon struct {
	conn       *grpc.ClientConn
	containers containers.ContainersClient
	tasks      tasks.TasksClient
	version    version.VersionClient
}

func connect() (*daemon, error) {
	conn, err := grpc.NewClient("unix://"+containerdSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &daemon{conn, containers.NewContainersClient(conn), tasks.NewTasksClient(conn), version.NewVersionClient(conn)}, nil
}

// keepRunning runs containerd until ctx ends, and starts it again if it dies.
// Services outlive it: their shims do not depend on it.
func keepRunning(ctx context.Context) {
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, 30*time.Second) {
		began := time.Now()
		err := runContainerd(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > 30*time.Second {
			wait = time.Second
		}
		say("containerd ended (%v); starting it again in %s", err, wait)
		time.Sleep(wait)
	}
}

func runContainerd(ctx context.Context) error {
	c := readContainerdConfig()
	cmd := exec.CommandContext(ctx, containerdBinary, strings.Fields(c["cliopts"])...)
	out, err := containerdOutput(c["stdout"])
	if err != nil {
		return err
	}
	errs, err := containerdOutput(c["stderr"])
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd.Run()
}

// containerdOutput opens where containerd's output goes: "stdout", "stderr" or
// a file.
func containerdOutput(where string) (*os.File, error) {
	switch where {
	case "", "stdout", "stderr":
		return os.Stderr, nil
	}
	return os.OpenFile(where, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
}

// readContainerdConfig reads LinuxKit's /etc/containerd/runtime-config.toml:
// lines of key = "value".
func readContainerdConfig() map[string]string {
	out := map[string]string{"stdout": "/var/log/containerd.log", "stderr": "/var/log/containerd.log"}
	f, err := os.Open("/etc/containerd/runtime-config.toml")
	if err != nil {
		return out
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), "=")
		if ok && !strings.HasPrefix(strings.TrimSpace(key), "#") {
			out[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return out
}

// await waits until containerd answers, and says on the console that it waits.
func (d *daemon) await(ctx context.Context) error {
	began := time.Now()
	warn := began.Add(10 * time.Second)
	for {
		probe, cancel := context.WithTimeout(ctx, time.Second)
		_, err := d.version.Version(probe, &emptypb.Empty{}, grpc.WaitForReady(true))
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(warn) {
			say("waiting for containerd since %s: %v", time.Since(began).Round(time.Second), status.Convert(err).Message())
			warn = time.Now().Add(10 * time.Second)
		}
	}
}

// in is a context for one of containerd's namespaces.
func in(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

// specType is how containerd names a runtime specification.
const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec"

// create makes a container and its task, and returns the task's pid. What is
// left of the same name is removed first.
func (d *daemon) create(ctx context.Context, name string, spec []byte, stdout, stderr string) (uint32, error) {
	if err := d.remove(ctx, name); err != nil {
		return 0, err
	}
	_, err := d.containers.Create(ctx, &containers.CreateContainerRequest{Container: &containers.Container{
		ID:      name,
		Runtime: &containers.Container_Runtime{Name: "io.containerd.runc.v2"},
		Spec:    &anypb.Any{TypeUrl: specType, Value: spec},
	}})
	if err != nil {
		return 0, fmt.Errorf("making the container: %w", plain(err))
	}
	t, err := d.tasks.Create(ctx, &tasks.CreateTaskRequest{ContainerID: name, Stdout: stdout, Stderr: stderr})
	if err != nil {
		return 0, fmt.Errorf("making its task: %w", plain(err))
	}
	return t.Pid, nil
}

// remove deletes a container that does not run, and its task.
func (d *daemon) remove(ctx context.Context, name string) error {
	if _, err := d.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: name}); err != nil && !missing(err) {
		return fmt.Errorf("removing the old task: %w", plain(err))
	}
	if _, err := d.containers.Delete(ctx, &containers.DeleteContainerRequest{ID: name}); err != nil && !missing(err) {
		return fmt.Errorf("removing the old container: %w", plain(err))
	}
	return nil
}

// running tells whether a task runs, and with which pid.
func (d *daemon) running(ctx context.Context, name string) (uint32, bool) {
	t, err := d.tasks.Get(ctx, &tasks.GetRequest{ContainerID: name})
	if err != nil || t.Process.Status != task.Status_RUNNING {
		return 0, false
	}
	return t.Process.Pid, true
}

func (d *daemon) start(ctx context.Context, name string) error {
	if _, err := d.tasks.Start(ctx, &tasks.StartRequest{ContainerID: name}); err != nil {
		return fmt.Errorf("starting: %w", plain(err))
	}
	return nil
}

// wait waits until a task ends, and returns its status. A containerd that dies
// meanwhile is waited for.
func (d *daemon) wait(ctx context.Context, name string) (uint32, error) {
	for {
		r, err := d.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: name}, grpc.WaitForReady(true))
		if err == nil {
			return r.ExitStatus, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if status.Code(err) != codes.Unavailable {
			return 0, fmt.Errorf("waiting: %w", plain(err))
		}
		time.Sleep(time.Second)
	}
}

func (d *daemon) kill(ctx context.Context, name string, signal uint32) error {
	_, err := d.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: name, Signal: signal, All: true})
	if missing(err) {
		return nil
	}
	return plain(err)
}

func missing(err error) bool { return status.Code(err) == codes.NotFound }

// plain is an error without what gRPC wraps around it.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(status.Convert(err).Message())
}
