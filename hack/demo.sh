#!/usr/bin/env bash
# From a fresh Debian machine with Go to a booted system: installs what is
# missing, builds lkx, a BuildKit and the component images, builds
# examples/minimal.yml, boots it in QEMU until its service speaks, and powers it
# off. Says what it does, and how long each step took.
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
trap '"$ROOT/hack/daemon.sh" stop' EXIT

summary=
step() {
  local what=$1 began=$SECONDS
  shift
  say "$what"
  "$@"
  summary+=$(printf '%6d s  %s' $((SECONDS - began)) "$what")$'\n'
}

step "install the packages that are missing (hack/deps.sh)" hack/deps.sh demo
step "build buildkitd, buildx and a registry into .build/bin (hack/tools.sh)" hack/tools.sh
step "build lkx into .build/bin (make build)" make --no-print-directory build
step "start buildkitd and the registry (hack/daemon.sh)" hack/daemon.sh start
step "build the frontend and the component images into .build/images (make images)" \
  env LKX_PLATFORMS="linux/$(go env GOHOSTARCH)" make --no-print-directory images
step "build examples/minimal.yml: lkx build --layout .build/images -o .build/demo" \
  "$BIN/lkx" build --layout .build/images --store .build/store -o .build/demo examples/minimal.yml
step "boot it until the service speaks, and power it off: lkx run --expect" \
  "$BIN/lkx" run --expect "hello from lkx" --timeout 3m .build/demo/minimal

printf '\nDone: a system of %s booted, ran its service, and powered off.\n%s' \
  "$(du -ch .build/demo/minimal-kernel .build/demo/minimal-initrd.img | tail -1 | cut -f1)" "$summary"
echo "Boot it again:  .build/bin/lkx run .build/demo/minimal     (ctrl-a x ends it)"
