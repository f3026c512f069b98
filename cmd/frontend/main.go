// Command frontend is lkx's BuildKit frontend. Started by BuildKit it serves a
// build over its standard streams; as "exec-op" it is the program that the
// build's own exec ops run.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/gateway/grpcclient"
	"github.com/moby/buildkit/util/appcontext"

	"github.com/lkx-os/lkx/execop"
	"github.com/lkx-os/lkx/frontend"
	"github.com/lkx-os/lkx/plan"
)

// binary is this program's path in its image; see the Dockerfile.
const binary = "/lkx-frontend"

func main() {
	if err := run(appcontext.Context(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lkx:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == plan.ToolArg {
		return execop.Run(ctx)
	}
	return grpcclient.RunFromEnvironment(ctx, func(ctx context.Context, c client.Client) (*client.Result, error) {
		return frontend.Build(ctx, c, frontend.Options{Tools: frontend.Self(binary)})
	})
}
