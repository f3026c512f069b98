// Command hello is a service that says where it runs, every ten seconds.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	for {
		fmt.Printf("hello from lkx: pid %d, uid %d, Linux %s\n", os.Getpid(), os.Getuid(), strings.TrimSpace(string(release)))
		select {
		case <-stop:
			fmt.Println("goodbye")
			return
		case <-time.After(10 * time.Second):
		}
	}
}
