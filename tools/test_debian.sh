#!/usr/bin/env bash
# Everything that is packaged, on another release of Debian: `tools/test_debian.sh SUITE` (trixie, bookworm). Builds the package and the
# image there by the Dockerfile, installs, upgrades and purges the package, and boots that release's systemd with it.
#
# Needs root, Debian, debootstrap and systemd-nspawn; without them it says so and does nothing. The first build takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:?the suite}

skip() { echo "skipped: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip 'a Debian of its own needs root'
for tool in debootstrap systemd-nspawn; do
  command -v "$tool" >/dev/null || skip "there is no $tool here: apt-get install debootstrap systemd-container"
done

work=$(mktemp -d /var/tmp/test-debian.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/packages"
tools/test_dockerfile.py --debian "$suite" --output "$work/packages"
deb=$(echo "$work"/packages/*.deb)
tools/test_package.sh "$deb" "$suite"

# With a broker, and what plays a camera.
tools/clean_debian.sh "$work/root" "$suite"
cp "$deb" "$work/root/stakeout.deb"
systemd-nspawn -q -D "$work/root" --register=no --keep-unit --resolv-conf=replace-host --console=pipe /bin/sh -ec '
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends /stakeout.deb systemd-sysv mosquitto mosquitto-clients procps util-linux \
    python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad' \
  </dev/null >"$work/log" 2>&1 || { tail -n 30 "$work/log"; echo 'FAILED: it cannot be installed'; exit 1; }
tools/test_systemd.sh --in "$work/root"
