// Command poweroff powers the machine off after some seconds: 3, or as many as
// its argument says. It is for tests.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	wait := 3
	if len(os.Args) > 1 {
		var err error
		if wait, err = strconv.Atoi(os.Args[1]); err != nil || wait < 0 {
			fmt.Fprintf(os.Stderr, "poweroff: %q is no number of seconds\n", os.Args[1])
			os.Exit(2)
		}
	}
	fmt.Printf("poweroff: in %d seconds\n", wait)
	time.Sleep(time.Duration(wait) * time.Second)
	// The first process of the system, whose namespace this is in.
	if err := syscall.Kill(1, syscall.SIGUSR2); err != nil {
		fmt.Fprintln(os.Stderr, "poweroff: asking the init:", err)
		os.Exit(1)
	}
}
