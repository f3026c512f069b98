package service

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/lkx-os/lkx/components/init/internal/health"
)

const processType = "types.containerd.io/opencontainers/runtime-spec/1/Process"

// exec runs a process in the container of that name and waits for its end. It
// is killed when ctx is done, and an error unless its status is 0. Its errors go
// to the FIFO stderr, its output nowhere: containerd's own nowhere cannot be
// written to, and programs fail of that.
func (c *client) exec(ctx context.Context, name string, process []byte, stderr string) error {
	id := "check-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	defer c.removeExec(ctx, name, id)
	there := c.there()
	_, err := c.tasks.Exec(ctx, &tasks.ExecProcessRequest{
		ContainerID: name, ExecID: id, Spec: &anypb.Any{TypeUrl: processType, Value: process},
		Stdout: os.DevNull, Stderr: stderr,
	})
	if err != nil {
		return fmt.Errorf("making a process in the container: %w", c.unmade(err, there))
	}
	if _, err := c.tasks.Start(ctx, &tasks.StartRequest{ContainerID: name, ExecID: id}); err != nil {
		return fmt.Errorf("starting a process in the container: %w", c.unmade(err, there))
	}
	r, err := c.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: name, ExecID: id})
	if err != nil {
		return fmt.Errorf("waiting for a process in the container: %w", c.unmade(err, there))
	}
	if r.ExitStatus != 0 {
		return fmt.Errorf("exited with status %d", r.ExitStatus)
	}
	return nil
}

// removeExec ends and forgets a process that exec made, if it did. When
// containerd cannot be asked it stays; its end is that of the container.
func (c *client) removeExec(ctx context.Context, name, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
	defer cancel()
	for range 50 {
		_, err := c.tasks.DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: name, ExecID: id})
		if err == nil || status.Code(err) == codes.NotFound {
			return
		}
		// It runs, most likely: containerd has no code for that.
		_, _ = c.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: name, ExecID: id, Signal: uint32(unix.SIGKILL)})
		if !sleep(ctx, 20*time.Millisecond) {
			return
		}
	}
}

// there tells whether containerd listens, as far as is known.
func (c *client) there() bool { return c.conn.GetState() == connectivity.Ready }

// unmade is an error of a check, told apart from the absence of containerd, be
// it when the check began: that says nothing about the service.
func (c *client) unmade(err error, there bool) error {
	code := status.Code(err)
	if code == codes.Unavailable || code == codes.DeadlineExceeded && !(there && c.there()) {
		return fmt.Errorf("%w: %w", health.ErrNotMade, plain(err))
	}
	return plain(err)
}
