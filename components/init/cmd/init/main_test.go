package main

import (
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	for _, words := range [][]string{{"/init"}, {"/init", "stop"}, {"/sbin/shutdown"}} {
		if err := help(words); err == nil || !strings.Contains(err.Error(), "none of modprobe, poweroff") {
			t.Errorf("%q gave %v", words, err)
		}
	}
	// What no module is for is no error: the kernel may have it built in.
	for _, words := range [][]string{{"/init", "-q", "--", "lkx-no-such-module"}, {"/sbin/modprobe", "lkx-no-such-module"}, {"/init", "modprobe"}} {
		if err := help(words); err != nil {
			t.Errorf("%q gave %v", words, err)
		}
	}
}
