#!/usr/bin/env bash
# Makes a clean Debian in a folder: `tools/clean_debian.sh FOLDER [SUITE]`. It is debootstrap's minimal system of this machine's release,
# or of SUITE (bookworm, trixie), with this machine's package sources and proxy settings. An archive of it is kept below target/
# for a week.
#
# Needs root, Debian and debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?the folder}
# shellcheck source=/dev/null
own=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
suite=${2:-$own}
archive=${CARGO_TARGET_DIR:-target}/clean-debian-$suite.tar

sources() {
  apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' | sort -u |
    awk -v own="$own" -v suite="$suite" '{ sub("^" own, suite, $3); print }'
}

make_archive() {
  local mirror
  work=$(mktemp -d /var/tmp/clean-debian.XXXXXX)
  trap 'rm -rf "$work"' EXIT
  mirror=$(sources | awk -v suite="$suite" '$3 == suite { print $2; exit }')
  [ -n "$mirror" ] || { echo 'this machine has no package lists: run apt-get update' >&2; exit 1; }
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
  sources >"$work/root/etc/apt/sources.list"
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIPv)' >"$work/root/etc/apt/apt.conf.d/10of-this-machine" || true
  # A proxy may use a certificate authority of its own.
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/" 2>/dev/null || true
  mkdir -p "$(dirname "$archive")"
  tar -C "$work/root" -cf "$archive.new" .
  mv "$archive.new" "$archive"
}

[ -n "$(find "$archive" -mtime -7 2>/dev/null)" ] || (make_archive)
mkdir -p "$folder"
tar -C "$folder" -xf "$archive"
# The line that the Debian installer writes.
echo '127.0.0.1 localhost' >"$folder/etc/hosts"
