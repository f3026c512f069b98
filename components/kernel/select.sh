#!/bin/sh
# select.sh ROOT LIST OUT: takes the kernel and the modules that LIST names, with
# all they depend on, out of the unpacked package ROOT, and writes OUT/kernel and
# OUT/kernel.tar. In lkx-initrd.list next to the modules it says which files the
# small initrd takes of them.
set -eu
root=$1 list=$2 out=$3
version=$(ls "$root/lib/modules")
from=$root/lib/modules/$version
to=$out/tree/lib/modules/$version
mkdir -p "$to"
depmod -b "$root" "$version"

# files PATTERN: the files of the modules on the lines of LIST that match PATTERN,
# relative to the modules' directory.
files() {
  sed 's/#.*//' "$list" | grep "$1" | while read -r name _; do
    # "insmod PATH" for each module to load, "builtin NAME" for what needs none.
    modprobe -d "$root" -S "$version" --ignore-install --show-depends "$name" 2>/dev/null |
      sed -n "s|^insmod .*/lib/modules/$version/\([^ ]*\).*|\1|p"
  done | LC_ALL=C sort -u
}

files . | while read -r rel; do
  mkdir -p "$to/$(dirname "$rel")"
  cp "$from/$rel" "$to/$rel"
done

cp "$from/modules.order" "$from/modules.builtin" "$from/modules.builtin.modinfo" "$to/"
depmod -b "$out/tree" "$version"
# The text forms are what our init reads; the binary ones are for modprobe.
rm -f "$to/modules.symbols" "$to/modules.symbols.bin" "$to/modules.builtin.modinfo" "$to/modules.order"
{ printf '%s\n' modules.alias modules.dep modules.softdep; files ' initrd'; } > "$to/lkx-initrd.list"

cp "$root/boot/vmlinuz-$version" "$out/kernel"
# UEFI wants a PE file, which an arm64 kernel that is compressed is not.
[ "$(head -c 2 "$out/kernel")" = MZ ] || { echo "vmlinuz-$version is not a PE file" >&2; exit 1; }
# Device trees of the boards that lkx makes cards for.
for dtb in "$root"/usr/lib/linux-image-*/broadcom/bcm2837-*.dtb "$root"/usr/lib/linux-image-*/broadcom/bcm2711-*.dtb; do
  [ ! -e "$dtb" ] || install -D -m 644 "$dtb" "$out/tree/boot/dtb/broadcom/${dtb##*/}"
done
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$out/tree" -cf "$out/kernel.tar" .
rm -rf "$out/tree"
touch -d @0 "$out"/*
ls -l "$out"
