package gate

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "run", "lock")
	if !awaitAt(t.Context(), name) {
		t.Error("where there is no gate one has to wait")
	}
	gate, err := closeAt(name)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if awaitAt(short, name) {
		t.Error("the gate is not closed")
	}
	passed := make(chan bool)
	go func() { passed <- awaitAt(t.Context(), name) }()
	select {
	case <-passed:
		t.Fatal("passed a closed gate")
	case <-time.After(50 * time.Millisecond):
	}
	gate.Open()
	if !<-passed {
		t.Error("the gate does not open")
	}
	if !awaitAt(t.Context(), name) {
		t.Error("the gate does not stay open")
	}
	(*Gate)(nil).Open()
}
