#!/usr/bin/env bash
# Runs every test there is, from nothing: installs what is missing, lints,
# builds the images, starts buildkitd and a registry, and closes with go test's
# own lines.
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
trap '"$ROOT/hack/daemon.sh" stop' EXIT
export LKX_PROGRESS=plain

began=$SECONDS
hack/deps.sh test
hack/tools.sh lint
hack/lint.sh
make --no-print-directory build
hack/daemon.sh start
say "building the images"
# Those of "make demo" are for one platform.
[ "$(cat "$BUILD/images.platforms" 2>/dev/null)" = all ] || rm -f "$BUILD/images/index.json"
make --no-print-directory images >"$BUILD/images.log" 2>&1 || { tail -50 "$BUILD/images.log" >&2; die "building the images"; }
say "images are built, $((SECONDS - began)) s after the start"

say "building every benchmark once, of tiny systems"
rows=
[ "$(id -u)" = 0 ] || { rows=local; say "without root, only with the local engine"; }
go run ./bench -smoke -rows "$rows" >"$BUILD/bench.md" 2>"$BUILD/bench.log" || { tail -20 "$BUILD/bench.log" >&2; die "a benchmark cannot be built"; }

(cd components && go test ./...)
if [ -n "${LKX_TEST_FULL:-}" ]; then
  for fuzz in FuzzParse FuzzMerge; do
    go test -run '^$' -fuzz "^$fuzz\$" -fuzztime 60s ./manifest
  done
  go test -run '^$' -bench . ./manifest
fi
hack/with.sh go test -timeout 25m ./...
