#!/usr/bin/env bash
# Makes the base images that component Dockerfiles begin FROM, as OCI layouts in
# .build/bases, where docker.io cannot be reached: debian:bookworm-slim by
# mmdebstrap, golang:1.26-bookworm as that plus this machine's Go. Prints the
# buildx bake arguments that put them in place; none where docker.io answers.
# BASES=registry or BASES=local skips the probe.
. "$(dirname "$0")/lib.sh"
BASES_DIR=$BUILD/bases

mode=${BASES:-}
if [ -z "$mode" ]; then
  if curl -sS -o /dev/null -m 5 https://registry-1.docker.io/v2/ 2>/dev/null; then mode=registry; else mode=local; fi
fi
[ "$mode" = local ] || exit 0

# blob FILE: moves a file into the layout, and prints its digest and size.
blob() {
  local sum
  sum=$(sha256sum "$1" | cut -d' ' -f1)
  printf 'sha256:%s %s' "$sum" "$(stat -c %s "$1")"
  mv "$1" "$layout/blobs/sha256/$sum"
}

# layout NAME ENV LAYER.tar...: makes an OCI layout (image-spec, image-layout.md).
layout() {
  local name=$1 env=$2 ids='' layers='' d s
  shift 2
  layout=$BASES_DIR/$name.tmp
  rm -rf "$layout" && mkdir -p "$layout/blobs/sha256"
  for tar in "$@"; do
    cp --reflink=auto "$tar" "$layout/layer"
    read -r d s <<<"$(blob "$layout/layer")"
    ids+="${ids:+,}\"$d\""
    layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"$d\",\"size\":$s}"
  done
  printf '{"architecture":"%s","os":"linux","config":{"Env":[%s],"Cmd":["bash"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(go env GOHOSTARCH)" "$env" "$ids" >"$layout/config"
  read -r d s <<<"$(blob "$layout/config")"
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[%s]}' \
    "$d" "$s" "$layers" >"$layout/manifest"
  read -r d s <<<"$(blob "$layout/manifest")"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}' \
    "$d" "$s" >"$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  rm -rf "${BASES_DIR:?}/$name" && mv "$layout" "$BASES_DIR/$name"
}

mkdir -p "$BASES_DIR"
if [ ! -e "$BASES_DIR/debian/index.json" ]; then
  say "docker.io cannot be reached: making debian:bookworm-slim with mmdebstrap"
  bundle=/etc/ssl/certs/ca-certificates.crt
  as_root mmdebstrap --quiet --variant=apt --include=ca-certificates \
    --customize-hook="copy-in $bundle /etc/ssl/certs" bookworm "$BASES_DIR/debian.tar" >&2
  layout debian '"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"' "$BASES_DIR/debian.tar"
fi
version=$(go env GOVERSION)
if [ "$(cat "$BASES_DIR/golang.version" 2>/dev/null)" != "$version" ]; then
  say "making golang:1.26-bookworm from this machine's $version"
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --transform='s,^\.,usr/local/go,' \
    --exclude=./test --exclude=./api --exclude=./doc -C "$(go env GOROOT)" -cf "$BASES_DIR/go.tar" .
  layout golang '"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","GOPATH=/go","GOTOOLCHAIN=local"' \
    "$BASES_DIR/debian.tar" "$BASES_DIR/go.tar"
  rm -f "$BASES_DIR/go.tar"
  printf '%s' "$version" >"$BASES_DIR/golang.version"
fi
printf -- '--set\n*.contexts.debian:bookworm-slim=oci-layout://%s\n' "$BASES_DIR/debian"
printf -- '--set\n*.contexts.golang:1.26-bookworm=oci-layout://%s\n' "$BASES_DIR/golang"
