#!/usr/bin/env bash
# push.sh REGISTRY/PATH: pushes the images of .build/images there.
. "$(dirname "$0")/lib.sh"
to=${1:-}
[ -n "$to" ] || die "no registry to push to" "make push TO=ghcr.io/me"
"$ROOT/hack/daemon.sh" start
builder_env
unset DOCKER_CONFIG # the user's own credentials
for name in lkx bootblobs busybox containerd hello init kernel redis runc; do
  "$BIN/crane" copy "$LKX_TEST_REGISTRY/lkx-os/$name:$VERSION" "$to/$name:$VERSION"
done
