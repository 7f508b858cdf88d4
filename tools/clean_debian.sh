#!/usr/bin/env bash
# A clean Debian in a folder: `tools/clean_debian.sh FOLDER [SUITE]`. Only what debootstrap calls minimal, of this machine's own
# release (or that other one: bookworm, trixie), and with the package sources of this machine and the way it reaches them. Kept as an
# archive below target/, for a week.
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
  [ -n "$mirror" ] || { echo 'there are no lists of packages here: run apt-get update' >&2; exit 1; }
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
  sources >"$work/root/etc/apt/sources.list"
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIPv)' >"$work/root/etc/apt/apt.conf.d/10of-this-machine" || true
  # An own authority, if the way to the packages leads through somebody who has one.
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/" 2>/dev/null || true
  mkdir -p "$(dirname "$archive")"
  tar -C "$work/root" -cf "$archive.new" .
  mv "$archive.new" "$archive"
}

[ -n "$(find "$archive" -mtime -7 2>/dev/null)" ] || (make_archive)
mkdir -p "$folder"
tar -C "$folder" -xf "$archive"
# As an installer writes it.
echo '127.0.0.1 localhost' >"$folder/etc/hosts"
