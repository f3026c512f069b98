#!/usr/bin/env bash
# Builds the pinned tools of tools/ into .build/bin: buildkitd, buildctl, buildx,
# crane, a registry, gofumpt and staticcheck. Does nothing when they are there.
. "$(dirname "$0")/lib.sh"

# build MODULE PACKAGE...: builds the packages, unless the module is unchanged.
build() {
  local module=$ROOT/tools/$1 stamp=$BUILD/tools-$1.sum sum
  shift
  sum=$(cat "$module/go.mod" "$module/go.sum" | sha256sum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  mkdir -p "$BIN"
  say "building ${*##*/} (a minute or two, the first time)"
  (cd "$module" && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$BIN/" "$@")
  printf '%s' "$sum" >"$stamp"
}

build buildkit github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit/cmd/buildctl \
  github.com/docker/buildx/cmd/buildx github.com/google/go-containerregistry/cmd/crane
build registry github.com/distribution/distribution/v3/cmd/registry
[ "${1:-}" != lint ] || build lint mvdan.cc/gofumpt honnef.co/go/tools/cmd/staticcheck

# "docker buildx" finds buildx as a plug-in. Where there is no docker client, a
# stand-in passes that one command on.
mkdir -p "$BUILD/docker/cli-plugins"
ln -sf "$BIN/buildx" "$BUILD/docker/cli-plugins/docker-buildx"
if ! command -v docker >/dev/null; then
  printf '#!/bin/sh\n[ "$1" = buildx ] || { echo "this stand-in knows only docker buildx" >&2; exit 1; }\nshift\nexec "%s" "$@"\n' "$BIN/buildx" >"$BIN/docker"
  chmod +x "$BIN/docker"
fi
