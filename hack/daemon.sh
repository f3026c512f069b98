#!/usr/bin/env bash
# daemon.sh start|stop|status: a buildkitd and an image registry of the
# project's own, with all they keep under .build/. The registry stands in for
# ghcr.io in builds. With LKX_BUILDER=NAME, that buildx builder is used instead
# of a buildkitd of ours.
. "$(dirname "$0")/lib.sh"

alive() { [ -f "$BUILD/$1.pid" ] && kill -0 "$(cat "$BUILD/$1.pid")" 2>/dev/null; }

# launch NAME COMMAND...: starts it in the background, its output in .build/NAME.log.
launch() {
  local name=$1
  shift
  setsid nohup "$@" >"$BUILD/$name.log" 2>&1 </dev/null &
  echo $! >"$BUILD/$name.pid"
}

# await NAME COMMAND...: waits until the command succeeds.
await() {
  local name=$1
  shift
  for _ in $(seq 150); do
    "$@" >/dev/null 2>&1 && return
    alive "$name" || break
    sleep 0.2
  done
  tail -20 "$BUILD/$name.log" >&2
  die "$name did not start" "its log is .build/$name.log"
}

start_registry() {
  alive registry && return
  local port=${LKX_REGISTRY_PORT:-5057}
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  mkdir -p "$BUILD/registry"
  printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
    "$BUILD/registry" "$port" >"$BUILD/registry.yml"
  printf 'localhost:%s' "$port" >"$BUILD/registry.addr"
  OTEL_TRACES_EXPORTER=none launch registry "$BIN/registry" serve "$BUILD/registry.yml"
  await registry curl -sf "http://127.0.0.1:$port/v2/"
}

start_buildkitd() {
  [ -n "${LKX_BUILDER:-}" ] && return
  if ! alive buildkitd; then
    [ "$(id -u)" = 0 ] || die "buildkitd needs root" "run with sudo, or name a buildx builder that you have: LKX_BUILDER=default make …"
    command -v runc >/dev/null || die "runc is missing" "run hack/deps.sh"
    local addr
    addr=$(cat "$BUILD/registry.addr")
    printf '[registry."ghcr.io"]\n  mirrors = ["%s"]\n[registry."%s"]\n  http = true\n' "$addr" "$addr" >"$BUILD/buildkitd.toml"
    launch buildkitd "$BIN/buildkitd" --root "$BUILD/buildkit" --addr "unix://$BUILD/buildkitd.sock" \
      --config "$BUILD/buildkitd.toml" --oci-worker-net host
    await buildkitd "$BIN/buildctl" --addr "unix://$BUILD/buildkitd.sock" debug workers
  fi
  builder_env
  "$BIN/buildx" inspect lkx >/dev/null 2>&1 ||
    "$BIN/buildx" create --name lkx --driver remote "unix://$BUILD/buildkitd.sock" >/dev/null
}

stop() {
  for name in buildkitd registry; do
    alive "$name" || continue
    kill "$(cat "$BUILD/$name.pid")" 2>/dev/null || true
    for _ in $(seq 50); do alive "$name" || break; sleep 0.1; done
    rm -f "$BUILD/$name.pid"
  done
}

mkdir -p "$BUILD"
case ${1:-} in
  start) start_registry && start_buildkitd ;;
  stop) stop ;;
  status) for name in registry buildkitd; do if alive "$name"; then echo "$name: running"; else echo "$name: stopped"; fi; done ;;
  *) die "usage: hack/daemon.sh start|stop|status" ;;
esac
