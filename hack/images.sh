#!/usr/bin/env bash
# images.sh [TARGET...]: builds the frontend and the component images (all, or
# those that are named), and leaves them in the local registry and, as one OCI
# image layout, in .build/images. Needs hack/daemon.sh start. LKX_PLATFORMS
# restricts the platforms: LKX_PLATFORMS=linux/amd64.
. "$(dirname "$0")/lib.sh"
builder_env
addr=$LKX_TEST_REGISTRY
[ -n "$addr" ] || die "the registry is not running" "run hack/daemon.sh start"

mapfile -t bases < <("$ROOT/hack/bases.sh")
args=()
# A proxy of this machine's own is passed on; the default needs no word.
for name in GOPROXY GOSUMDB; do
  value=$(go env "$name")
  [ "$value" = "$(env -u "$name" GOENV=off go env "$name")" ] || args+=(--set "*.args.$name=$value")
done

cd "$ROOT"
mapfile -t all < <("$BIN/buildx" bake --file docker-bake.hcl --print --progress quiet | sed -n '/^  "target": {/,$ s/^    "\([^"]*\)": {.*/\1/p')
[ ${#all[@]} -gt 0 ] || die "docker-bake.hcl names no images"
targets=("$@")
[ $# -gt 0 ] || targets=("${all[@]}")
say "building images: ${targets[*]}"
# The images are pushed under the local registry's name; the daemon takes it as
# a mirror of ghcr.io. Fixed times: the same sources give the same digests.
REGISTRY=$addr/lkx-os VERSION=$VERSION "$BIN/buildx" bake --file docker-bake.hcl --progress "${LKX_PROGRESS:-auto}" \
  "${bases[@]}" "${args[@]}" \
  --set "*.output=type=image,push=true,compression=zstd,compression-level=3,force-compression=true,oci-mediatypes=true,rewrite-timestamp=true" \
  "${targets[@]}"

say "writing .build/images"
layout=$BUILD/images.tmp
rm -rf "$layout"
index=
for name in "${all[@]}"; do
  ref=$addr/lkx-os/$name:$VERSION
  "$BIN/crane" pull --format=oci "$ref" "$layout"
  full=$REGISTRY/$name:$VERSION
  manifest=$("$BIN/crane" manifest "$ref"; printf x)
  manifest=${manifest%x}
  digest=$("$BIN/crane" digest "$ref")
  type=$(sed -n 's/.*"mediaType": *"\(application\/vnd.oci.image.\(manifest\|index\).v1+json\)".*/\1/p' <<<"$manifest" | head -1)
  # The short name is for skopeo (oci:.build/images:hello) and buildx
  # (oci-layout://.build/images:hello), the full one for manifests.
  index+="${index:+,}{\"mediaType\":\"$type\",\"digest\":\"$digest\",\"size\":$(stat -c %s "$layout/blobs/sha256/${digest#sha256:}"),"
  index+="\"annotations\":{\"org.opencontainers.image.ref.name\":\"$name\",\"io.containerd.image.name\":\"$full\"}}"
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}\n' "$index" >"$layout/index.json"
chmod -R a+rX "$layout"
rm -rf "$BUILD/images" && mv "$layout" "$BUILD/images"
echo "${LKX_PLATFORMS:-all}" >"$BUILD/images.platforms"
