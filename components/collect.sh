#!/bin/sh
# collect.sh ROOT OUT PROGRAM...: copies programs from the unpacked packages in
# ROOT to OUT, with the loader and the libraries that they link to. ROOT may be
# of any architecture: nothing of it runs.
set -eu
root=$1 out=$2
shift 2

# take PATH: copies a file, or what a link leads to, and what it needs.
take() {
  [ ! -e "$out$1" ] || return 0
  mkdir -p "$out$(dirname "$1")"
  cp -L "$root$1" "$out$1"
  readelf -d "$root$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' >"$out/needed"
  for name in $(cat "$out/needed"); do
    file=$(cd "$root" && find lib usr/lib -name "$name" | head -1)
    [ -n "$file" ] || { echo "no $name, which $1 needs" >&2; exit 1; }
    take "/$file"
  done
}

for program in "$@"; do
  take "$program"
  # The loader may be an absolute link, which leads out of ROOT.
  loader=$(readelf -l "$root$program" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
  mkdir -p "$out$(dirname "$loader")"
  cp -L "$root"/lib/*/"$(basename "$loader")" "$out$loader"
done
rm -f "$out/needed"
