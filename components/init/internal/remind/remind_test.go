package remind

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []time.Duration
		stop := While(func(waited time.Duration) { said = append(said, waited) })
		time.Sleep(150 * time.Second)
		stop()
		time.Sleep(time.Hour)
		if want := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}; !slices.Equal(said, want) {
			t.Errorf("said after %v, want %v", said, want)
		}
	})
}
