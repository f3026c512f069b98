package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// qmpTimeout is how long QEMU may take to answer.
const qmpTimeout = 10 * time.Second

// powerDown presses the power button (QEMU Machine Protocol, system_powerdown).
func powerDown(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoButton, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(qmpTimeout)); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil { // the greeting
		return fmt.Errorf("%w: %w", errNoButton, err)
	}
	for _, command := range []string{"qmp_capabilities", "system_powerdown"} {
		if err := execute(conn, in, command); err != nil {
			return fmt.Errorf("%w: %s: %w", errNoButton, command, err)
		}
	}
	return nil
}

// execute sends one command and waits for its answer. Events are passed over.
func execute(conn net.Conn, in *bufio.Reader, command string) error {
	if _, err := fmt.Fprintf(conn, "{\"execute\": %q}\n", command); err != nil {
		return err
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return err
		}
		switch {
		case answer.Error != nil:
			return errors.New(answer.Error.Desc)
		case answer.Return != nil:
			return nil
		}
	}
}
