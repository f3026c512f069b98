#!/usr/bin/env bash
# Installs the Debian packages that "make demo" (deps.sh demo) or "make test"
# (deps.sh test) needs, those that are missing.
. "$(dirname "$0")/lib.sh"

demo=(ca-certificates curl git mmdebstrap qemu-system-x86 runc)
test=("${demo[@]}" binutils cpio dosfstools erofs-utils fdisk gdisk libarchive-tools libxml2-utils mtools openssh-client ovmf qemu-efi-aarch64 qemu-system-arm qemu-utils skopeo squashfs-tools xorriso)
case ${1:-demo} in
  demo) want=("${demo[@]}") ;;
  test) want=("${test[@]}") ;;
  *) die "unknown profile $1" "there are: demo, test" ;;
esac

command -v go >/dev/null || die "Go is not installed" "install Go 1.26 from https://go.dev/dl, and put it into PATH"
command -v dpkg-query >/dev/null || {
  say "not a Debian system: make sure that these are installed: ${want[*]}"
  exit 0
}
missing=()
for p in "${want[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
[ ${#missing[@]} = 0 ] && exit 0
say "installing ${missing[*]}"
as_root apt-get update -q >/dev/null
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >"/tmp/lkx-apt.$$" 2>&1 ||
  { tail -20 "/tmp/lkx-apt.$$" >&2; die "installing packages"; }
rm -f "/tmp/lkx-apt.$$"
