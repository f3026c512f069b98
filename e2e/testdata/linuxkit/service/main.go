// Command service stands in for the program of that name in LinuxKit's init, in
// tests and in comparisons: the links in /etc/init.d and /etc/shutdown.d call
// it. It is not LinuxKit's program; docs/rootfs-layout.md is what it follows.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := command(context.Background(), filepath.Base(os.Args[0])); err != nil {
		fmt.Fprintln(os.Stderr, "stand-in service:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, name string) error {
	switch {
	case strings.Contains(name, "volumes"):
		return volumes("/containers/volumes")
	case strings.Contains(name, "onboot"):
		return oneshots("/containers/onboot", "onboot")
	case strings.Contains(name, "onshutdown"):
		return oneshots("/containers/onshutdown", "shutdown")
	case strings.Contains(name, "containerd"):
		return services(ctx, "/containers/services")
	}
	return fmt.Errorf("called as %s", name)
}
