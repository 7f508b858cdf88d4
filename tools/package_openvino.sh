#!/usr/bin/env bash
# Builds the Debian package stakeout-openvino, with the plugin that `stakeout devices add openvino` fetches, and prints its path:
# `tools/package_openvino.sh [BINARY]`. It belongs to the package stakeout, and contains nothing of it.
#
# Needs the built program, python3-pip, dpkg-deb, and the package index or a mirror of it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
binary=${1:-$target/release/stakeout}
machine=$(dpkg --print-architecture)
[ "$machine" = amd64 ] || { echo "package_openvino: there is no OpenVINO plugin for $machine" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
plugins=$root/usr/lib/stakeout/plugins
mkdir -p "$plugins" "$target/debian"
added=$("$binary" devices add openvino --into "$plugins")
version=${added##*-}

doc=$root/usr/share/doc/stakeout-openvino
mkdir -p "$doc"
mv "$added/package" "$doc/package"
mv "$added"/third-party-programs.txt "$doc/"
gzip -9n "$doc/third-party-programs.txt"
install -m 644 packaging/openvino/copyright "$doc/copyright"
when=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
gzip -9nc >"$doc/changelog.Debian.gz" <<END
stakeout-openvino ($version-1) unstable; urgency=medium

  * The plugin of OpenVINO for ONNX Runtime, version $version, as its authors built it.

 -- stakeout developers <stakeout@users.noreply.github.com>  $(LC_ALL=C date -Ru -d "@$when")
END
for unit in stakeout stakeout@; do
  install -Dm 644 systemd/openvino.conf "$root/usr/lib/systemd/system/$unit.service.d/openvino.conf"
done
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod 644 {} +

mkdir -p "$root/DEBIAN"
size=$(du -sk "$root" | cut -f1)
sed -e "s/@VERSION@/$version-1/" -e "s/@SIZE@/$size/" packaging/openvino/control >"$root/DEBIAN/control"
for script in postinst postrm; do
  install -m 755 "packaging/openvino/$script" "$root/DEBIAN/$script"
done
file=$target/debian/stakeout-openvino_$version-1_$machine.deb
dpkg-deb --root-owner-group --build "$root" "$file" >&2
echo "$file"
