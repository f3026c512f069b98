package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"golang.org/x/sys/unix"
)

const (
	// defaultNamespace of containerd is where services are, as with LinuxKit.
	defaultNamespace = "services.linuxkit"
	runcShim         = "io.containerd.runc.v2"
	specType         = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
)

// client speaks to containerd. It is the plain API: containerd's own client
// package is half as large again as this whole program.
type client struct {
	conn       *grpc.ClientConn
	containers containers.ContainersClient
	tasks      tasks.TasksClient
}

// dial makes a client. Its calls wait while nothing listens on socket.
func dial(socket string) (*client, error) {
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("connecting to containerd: %w", err)
	}
	return &client{conn, containers.NewContainersClient(conn), tasks.NewTasksClient(conn)}, nil
}

// in is a context for one of containerd's namespaces.
func in(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

// taskState is what containerd knows of a service's process.
type taskState struct {
	started bool // be it that it has ended since
	running bool
	pid     int // while it runs
}

// look tells what there is of a task of that name.
func (c *client) look(ctx context.Context, name string) (taskState, error) {
	t, err := c.tasks.Get(ctx, &tasks.GetRequest{ContainerID: name})
	if status.Code(err) == codes.NotFound {
		return taskState{}, nil
	}
	if err != nil {
		return taskState{}, fmt.Errorf("looking for it: %w", plain(err))
	}
	switch t.GetProcess().GetStatus() {
	case task.Status_RUNNING:
		return taskState{true, true, int(t.GetProcess().GetPid())}, nil
	case task.Status_STOPPED:
		return taskState{started: true}, nil
	}
	return taskState{}, nil
}

// start makes a container and runs it. Whatever is left of that name goes first.
func (c *client) start(ctx context.Context, name string, spec []byte, stdout, stderr string) (taskState, error) {
	if err := c.remove(ctx, name); err != nil {
		return taskState{}, err
	}
	_, err := c.containers.Create(ctx, &containers.CreateContainerRequest{Container: &containers.Container{
		ID:      name,
		Runtime: &containers.Container_Runtime{Name: runcShim},
		Spec:    &anypb.Any{TypeUrl: specType, Value: spec},
	}})
	if err != nil {
		return taskState{}, fmt.Errorf("making the container: %w", plain(err))
	}
	if _, err := c.tasks.Create(ctx, &tasks.CreateTaskRequest{ContainerID: name, Stdout: stdout, Stderr: stderr}); err != nil {
		return taskState{}, fmt.Errorf("making the container's process: %w", plain(err))
	}
	r, err := c.tasks.Start(ctx, &tasks.StartRequest{ContainerID: name})
	if err != nil {
		return taskState{}, fmt.Errorf("starting the container's process: %w", plain(err))
	}
	return taskState{true, true, int(r.GetPid())}, nil
}

// remove kills and deletes a container and its task. None is no error.
func (c *client) remove(ctx context.Context, name string) error {
	if err := c.kill(ctx, name, unix.SIGKILL); err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		_, err := c.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: name})
		if err == nil || status.Code(err) == codes.NotFound {
			break
		}
		// What was killed a moment ago may not be seen to have ended.
		if status.Code(err) != codes.FailedPrecondition || tries == 50 || !sleep(ctx, 20*time.Millisecond) {
			return fmt.Errorf("removing the container's process: %w", plain(err))
		}
	}
	_, err := c.containers.Delete(ctx, &containers.DeleteContainerRequest{ID: name})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("removing the container: %w", plain(err))
	}
	return nil
}

// wait waits for the end of a task, containerd's own ends notwithstanding, and
// returns its exit status. One that is gone ended unseen.
func (c *client) wait(ctx context.Context, name string) (int, error) {
	for {
		r, err := c.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: name})
		switch status.Code(err) {
		case codes.OK:
			return int(r.ExitStatus), nil
		case codes.Unavailable:
			if !sleep(ctx, 100*time.Millisecond) {
				return 0, ctx.Err()
			}
		default:
			return 0, fmt.Errorf("waiting for its end: %w", plain(err))
		}
	}
}

// kill sends a signal to the task's process; SIGKILL to all it has started.
func (c *client) kill(ctx context.Context, name string, signal unix.Signal) error {
	_, err := c.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: name, Signal: uint32(signal), All: signal == unix.SIGKILL})
	if err != nil && status.Code(err) != codes.NotFound && status.Code(err) != codes.FailedPrecondition {
		return fmt.Errorf("sending it %v: %w", signal, plain(err))
	}
	return nil
}

// errAway is what an error wraps that says that containerd went away meanwhile.
var errAway = errors.New("containerd has gone")

// around is what the programs on the way from containerd to a container say
// around the error of the last one, which alone tells what is wrong.
var around = []string{
	"failed to create shim task: ", "OCI runtime create failed: ", "runc create failed: ",
	"unable to start container process: ", "error during container init: ",
}

// plain is an error without what is said around it.
func plain(err error) error {
	s := status.Convert(err)
	text := s.Message()
	for _, prefix := range around {
		text = strings.TrimPrefix(text, prefix)
	}
	if s.Code() == codes.Unavailable {
		return fmt.Errorf("%w: %s", errAway, text)
	}
	return errors.New(text)
}
