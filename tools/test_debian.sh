#!/usr/bin/env bash
# Tests everything that is packaged on another release of Debian: `tools/test_debian.sh SUITE` (trixie, bookworm). It builds the package
# and the image with the Dockerfile, installs, upgrades and purges the package, and boots the systemd of that release with it.
#
# It needs root, Debian, debootstrap and systemd-nspawn; without them it is skipped. The first build takes several minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:?the suite}

# shellcheck source=tools/skip.sh
. tools/skip.sh
[ "$(id -u)" = 0 ] || skip 'making a Debian needs root'
for tool in debootstrap systemd-nspawn; do
  command -v "$tool" >/dev/null || missing "$tool is missing: apt-get install debootstrap systemd-container"
done

work=$(mktemp -d /var/tmp/test-debian.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/packages"
tools/test_dockerfile.py --debian "$suite" --output "$work/packages"
deb=$(echo "$work"/packages/*.deb)
tools/test_package.sh "$deb" "$suite"

# With a broker and the packages for a camera.
tools/clean_debian.sh "$work/root" "$suite"
cp "$deb" "$work/root/stakeout.deb"
systemd-nspawn -q -D "$work/root" --register=no --keep-unit --resolv-conf=replace-host --console=pipe /bin/sh -ec '
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends /stakeout.deb systemd-sysv mosquitto mosquitto-clients procps util-linux \
    python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad' \
  </dev/null >"$work/log" 2>&1 || { tail -n 30 "$work/log"; echo 'FAILED: the package cannot be installed'; exit 1; }
tools/test_systemd.sh --in "$work/root"
