package main

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func event(typ, code uint16, value uint32) []byte {
	b := make([]byte, eventSize)
	binary.NativeEndian.PutUint16(b[16:], typ)
	binary.NativeEndian.PutUint16(b[18:], code)
	binary.NativeEndian.PutUint32(b[20:], value)
	return b
}

func TestPressed(t *testing.T) {
	press, release := event(evKey, keyPower, 1), event(evKey, keyPower, 0)
	sync, other := event(0, 0, 0), event(evKey, 30, 1)
	for _, c := range []struct {
		events [][]byte
		want   bool
	}{
		{[][]byte{press, sync}, true},
		{[][]byte{sync, other, press}, true},
		{[][]byte{release, sync}, false},
		{[][]byte{other, sync}, false},
		{[][]byte{press[:23]}, false},
		{nil, false},
	} {
		var all []byte
		for _, e := range c.events {
			all = append(all, e...)
		}
		if got := pressed(all); got != c.want {
			t.Errorf("%x: pressed is %v", all, got)
		}
	}
}

func TestEndings(t *testing.T) {
	for s, want := range map[os.Signal]int{
		unix.SIGUSR2: unix.LINUX_REBOOT_CMD_POWER_OFF, realTime(4): unix.LINUX_REBOOT_CMD_POWER_OFF,
		unix.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART, unix.SIGINT: unix.LINUX_REBOOT_CMD_RESTART,
		unix.SIGUSR1: unix.LINUX_REBOOT_CMD_HALT,
	} {
		if e := endingOf(s); e == nil || e.cmd != want {
			t.Errorf("%v ends with %+v", s, e)
		}
	}
	if e := endingOf(unix.SIGCHLD); e != nil {
		t.Errorf("SIGCHLD ends with %+v", e)
	}
}
