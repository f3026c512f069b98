package reap

import (
	"os"
	"testing"
	"time"
)

// TestMain lets the test's binary be the child that is started.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "child" {
		os.Exit(7)
	}
	os.Exit(m.Run())
}

func TestStart(t *testing.T) {
	r := New()
	for range 20 {
		c, err := r.Start("/proc/self/exe", []string{"child"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case status := <-c.Done:
			if status.ExitStatus() != 7 {
				t.Fatalf("exit status %d, want 7", status.ExitStatus())
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the child was not reaped")
		}
	}
	if !r.Alone() {
		t.Error("there are children left")
	}
	if _, err := r.Start("/missing", nil, nil); err == nil {
		t.Error("a missing program gave no error")
	}
}
