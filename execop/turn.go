package execop

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// pause is how long the first in the queue waits before it looks for a place
// again.
const pause = 2 * time.Millisecond

// takeTurn waits for one of n places in dir, which all exec ops of a builder
// share, and gives what leaves it. A builder starts the ops of all steps at
// once: without places each would hold the memory of its compressor while all
// wait for processors. Who ends, however, leaves its place.
func takeTurn(ctx context.Context, dir string, n int) (leave func(), err error) {
	queue := flock.New(filepath.Join(dir, "queue"))
	if err := queue.Lock(); err != nil {
		return nil, fmt.Errorf("waiting for other exec ops: %w", err)
	}
	defer queue.Close()
	for {
		for i := range n {
			place := flock.New(filepath.Join(dir, strconv.Itoa(i)))
			ok, err := place.TryLock()
			if err != nil {
				return nil, fmt.Errorf("waiting for other exec ops: %w", err)
			}
			if ok {
				return func() { place.Close() }, nil
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
