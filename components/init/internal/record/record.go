// Package record notes what becomes of containers, in files that live as long as
// the system: whoever supervises writes them, and whoever is asked reads them.
package record

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lkx-os/lkx/components/internal/uptime"
)

// State is what a container is doing.
type State string

// The states.
const (
	Waiting  State = "waiting"  // to be started, or at the end, stopped with the system
	Starting State = "starting" // its first, or another run
	Running  State = "running"
	Pausing  State = "pausing"  // before it is started again
	Stopping State = "stopping" // as asked
	Stopped  State = "stopped"  // as asked; it stays so
	Finished State = "finished" // it ended well and does not run again
	Failed   State = "failed"   // it failed and does not run again
	Skipped  State = "skipped"  // as one that it comes after failed
)

// Record is what is known of one container.
type Record struct {
	State    State  `json:"state"`
	Ready    bool   `json:"ready"`            // others that come after it may start
	Health   string `json:"health,omitempty"` // "starting", "healthy", "unhealthy"; "" without a healthcheck
	PID      int    `json:"pid,omitempty"`    // while it runs, as the first process sees it
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"` // how its last run ended
	Cgroup   string `json:"cgroup,omitempty"`   // absolute, below the root of cgroups
	// Since is when it came to its state, in nanoseconds after the kernel started.
	Since time.Duration `json:"since"`
	// Took is how long its last run was, in nanoseconds.
	Took time.Duration `json:"took,omitempty"`
}

// Note is the record of one container.
type Note struct {
	path string
	mu   sync.Mutex
	now  Record
}

const file = "status.json"

// Open reads the record in dir, or begins one.
func Open(dir string) (*Note, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of a record: %w", err)
	}
	r, err := Read(dir)
	return &Note{path: filepath.Join(dir, file), now: r}, err
}

// Read reads the record in dir. Where there is none the container waits.
func Read(dir string) (Record, error) {
	r := Record{State: Waiting}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if os.IsNotExist(err) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return Record{State: Waiting}, fmt.Errorf("reading a record: %w", err)
	}
	return r, nil
}

// Get is the record as it is.
func (n *Note) Get() Record {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// Change changes the record, and its file. With a new state it also notes the time.
func (n *Note) Change(f func(*Record)) (Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.now
	f(&n.now)
	if n.now.State != before.State {
		n.now.Since = uptime.Now()
	}
	if n.now == before {
		return n.now, nil
	}
	text, err := json.Marshal(n.now)
	if err == nil {
		err = os.WriteFile(n.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(n.path+".new", n.path)
	}
	if err != nil {
		return n.now, fmt.Errorf("writing a record: %w", err)
	}
	return n.now, nil
}
