#!/bin/sh
# select.sh ROOT LIST OUT: takes the kernel and the modules that LIST names, with
# all they depend on, out of the unpacked package ROOT, and writes OUT/kernel and
# OUT/kernel.tar.
set -eu
root=$1 list=$2 out=$3
version=$(ls "$root/lib/modules")
from=$root/lib/modules/$version
to=$out/tree/lib/modules/$version
mkdir -p "$to"
depmod -b "$root" "$version"

sed 's/#.*//' "$list" | while read -r name; do
  [ -n "$name" ] || continue
  # "insmod PATH" for each module to load, "builtin NAME" for what needs none.
  modprobe -d "$root" -S "$version" --ignore-install --show-depends "$name" 2>/dev/null | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | sort -u | while read -r path; do
  rel=${path#*"/lib/modules/$version/"}
  mkdir -p "$to/$(dirname "$rel")"
  cp "$from/$rel" "$to/$rel"
done

cp "$from/modules.order" "$from/modules.builtin" "$from/modules.builtin.modinfo" "$to/"
depmod -b "$out/tree" "$version"
# The text forms are what our init reads; the binary ones are for modprobe.
rm -f "$to/modules.symbols" "$to/modules.symbols.bin" "$to/modules.builtin.modinfo" "$to/modules.order"

cp "$root/boot/vmlinuz-$version" "$out/kernel"
# UEFI wants a PE file, which an arm64 kernel that is compressed is not.
[ "$(head -c 2 "$out/kernel")" = MZ ] || { echo "vmlinuz-$version is not a PE file" >&2; exit 1; }
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$out/tree" -cf "$out/kernel.tar" lib
rm -rf "$out/tree"
touch -d @0 "$out"/*
ls -l "$out"
