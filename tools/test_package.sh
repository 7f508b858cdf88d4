#!/usr/bin/env bash
# Tests the Debian package in a clean Debian: `make test-package`, or `tools/test_package.sh [FILE.deb [SUITE]]`. It builds the package
# (or uses the file, which may be for another release), and then installs, starts, upgrades, removes and purges it in a Debian made by
# debootstrap and booted with its own systemd. Each printed line is a result.
#
# It needs root, Debian, debootstrap and systemd-nspawn; without them it is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=tools/skip.sh
. tools/skip.sh
failed() { echo "FAILED: $*"; exit 1; }
[ "$(id -u)" = 0 ] || skip 'making a Debian needs root'
for tool in debootstrap systemd-nspawn; do
  command -v "$tool" >/dev/null || missing "$tool is missing: apt-get install debootstrap systemd-container"
done

deb=$(realpath "${1:-$(tools/package.sh)}")
version=$(dpkg-deb -f "$deb" Version)
work=$(mktemp -d /var/tmp/test-package.XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root

if command -v lintian >/dev/null; then
  lintian --fail-on error,warning --tag-display-limit 0 --allow-root "$deb" || failed 'lintian reports problems'
  echo "lintian: no problems in $(basename "$deb")"
else
  echo 'lintian skipped: it is not installed'
fi

tools/clean_debian.sh "$root" ${2:+"$2"}
mkdir -p "$root/packages" "$root/samples"
cp "$deb" "$root/packages/old.deb"
cp models/bundled/samples/*.jpg "$root/samples/"
# The next version, with another example, which must not replace a changed configuration.
dpkg-deb -R "$deb" "$work/newer"
sed -i 's/^Version: .*/&+next/' "$work/newer/DEBIAN/control"
echo '# The next version says more.' >>"$work/newer/etc/stakeout/stakeout.yaml"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/newer" "$root/packages/new.deb" >/dev/null

# What apt needs comes now, with this machine's network; later there is none.
inside() { systemd-nspawn -q -D "$root" --register=no --keep-unit --resolv-conf=replace-host --console=pipe "$@" </dev/null 2> >(grep -v 'Attempted to remove disk file system' >&2); }
inside /bin/sh -ec 'export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq /packages/old.deb systemd-sysv mosquitto mosquitto-clients procps >/var/log/install.log 2>&1 || { tail -n 30 /var/log/install.log; exit 1; }' ||
  failed 'it cannot be installed'
echo "install: apt did, with $(inside dpkg-query -f '.\n' -W | wc -l) packages in all"

install -m 755 tools/test_package_inside.sh "$root/usr/local/bin/test-inside"
cat >"$root/etc/systemd/system/test-inside.service" <<END
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=VERSION=$version
ExecStart=/bin/bash /usr/local/bin/test-inside
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/inside.log
StandardError=inherit
TimeoutStartSec=400
[Install]
WantedBy=default.target
END
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -s /etc/systemd/system/test-inside.service "$root/etc/systemd/system/default.target.wants/"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

timeout 500 systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network --boot --console=pipe </dev/null >"$work/console" 2>&1 || true
[ -s "$root/inside.log" ] || { tail -n 40 "$work/console"; failed 'systemd did not come up in the container'; }
cat "$root/inside.log"
grep -qx 'all tests passed' "$root/inside.log"
