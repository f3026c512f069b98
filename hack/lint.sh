#!/usr/bin/env bash
# Lints all modules: gofumpt, go vet, staticcheck; and go.mod is tidy.
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
"$ROOT/hack/tools.sh" lint

mapfile -t files < <(git ls-files '*.go')
unformatted=$("$BIN/gofumpt" -l "${files[@]}")
[ -z "$unformatted" ] || die "not formatted: $unformatted" "run .build/bin/gofumpt -w on them"
for module in . components components/containerd e2e/testdata/linuxkit; do
  (
    cd "$module"
    go vet ./...
    "$BIN/staticcheck" ./...
    go mod tidy -diff >/dev/null || die "$module/go.mod is not tidy" "run go mod tidy"
  )
done
say "lint: clean"
