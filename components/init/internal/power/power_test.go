package power

import (
	"encoding/binary"
	"syscall"
	"testing"
)

func TestSignals(t *testing.T) {
	for number, want := range map[int]Action{10: Halt, 12: Off, 15: Reboot, 2: Reboot, 38: Off, 39: Reboot, 37: Halt, 30: Off} {
		if got, ok := Signals[syscall.Signal(number)]; !ok || got != want {
			t.Errorf("signal %d asks for %v, want %v", number, got, want)
		}
	}
	// What a program of that name sends is understood.
	for action, h := range actions {
		if Signals[h.signal] != action {
			t.Errorf("%s sends signal %d, which asks for %v", h.name, h.signal, Signals[h.signal])
		}
	}
}

func TestAsk(t *testing.T) {
	if known, err := Ask("nothing"); known || err != nil {
		t.Errorf("got %v, %v", known, err)
	}
}

func TestInputEvent(t *testing.T) {
	if n := binary.Size(inputEvent{}); n != 24 {
		t.Errorf("an input event has %d bytes, want 24", n)
	}
}
