// Package uptime tells how long the kernel has been running.
package uptime

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time since the kernel started, sleep included.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // every kernel that can run this has the clock
	}
	return time.Duration(ts.Nano())
}
