# shellcheck shell=bash
# Shared by the scripts here: where things are, and how they speak.
# Everything that is built, downloaded or started lives under .build/.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/.build
BIN=$BUILD/bin
VERSION=${VERSION:-0.1}
REGISTRY=${REGISTRY:-ghcr.io/lkx-os}

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf ' hint: %s\n' "$2" >&2; exit 1; }

# as_root COMMAND...: runs it as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "$1 must run as root" "run as root, or install sudo"; fi
}

# builder_env: makes buildx and docker use the builder of hack/daemon.sh, and
# leaves the user's own configuration alone.
builder_env() {
  export PATH=$BIN:$PATH
  export DOCKER_CONFIG=$BUILD/docker BUILDX_CONFIG=$BUILD/buildx
  export BUILDX_BUILDER=${LKX_BUILDER:-lkx} BUILDX_NO_DEFAULT_ATTESTATIONS=1
  if [ -z "${LKX_BUILDER:-}" ]; then export BUILDKIT_HOST=unix://$BUILD/buildkitd.sock; fi
  LKX_TEST_REGISTRY=$(cat "$BUILD/registry.addr" 2>/dev/null || true)
  export LKX_TEST_REGISTRY
}
