#!/usr/bin/env bash
# with.sh COMMAND...: runs a command with the project's buildkitd and registry
# running, and tools, builder and registry in its environment:
#   hack/with.sh docker buildx build -f examples/minimal.yml --output type=local,dest=out .
#   hack/with.sh go test -run Guest -v ./e2e
# The daemons stay; hack/daemon.sh stop ends them.
. "$(dirname "$0")/lib.sh"
"$ROOT/hack/daemon.sh" start
builder_env
export LKX_TEST_E2E=1 LKX_TEST_BIN=$BIN LKX_TEST_IMAGES=$BUILD/images
exec "$@"
