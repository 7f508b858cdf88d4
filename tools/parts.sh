#!/usr/bin/env bash
# Writes everything in a package but the program: `tools/parts.sh BINARY FOLDER`. FOLDER gets the man pages and completions that the
# program generates, the documentation as HTML, the units for this system, the list of changes, the licences of all dependencies, the
# software bill of materials (sbom.cdx.json), and the ONNX Runtime library.
#
# The library is the one that `tools/setup.sh` downloads; ONNXRUNTIME names another one.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:?the program} folder=${2:?the folder}
data=${XDG_DATA_HOME:-$HOME/.local/share}/stakeout
library=${ONNXRUNTIME:-$data/lib/libonnxruntime.so.1.31.1}

rm -rf "$folder"
mkdir -p "$folder/man" "$folder/html" "$folder/onnxruntime"
"$binary" man "$folder/man"
gzip -9n "$folder"/man/*.1
"$binary" completions bash >"$folder/stakeout.bash"
"$binary" completions zsh >"$folder/_stakeout"
"$binary" completions fish >"$folder/stakeout.fish"
for file in web/dist-docs/*.gz; do gzip -dc "$file" >"$folder/html/$(basename "$file" .gz)"; done
tools/units.sh "$folder/systemd"
gzip -9nc CHANGELOG.md >"$folder/changelog.gz"
tools/third_party.py | gzip -9nc >"$folder/third-party.gz"
tools/sbom.py --library "$library" >"$folder/sbom.cdx.json"
# Debian's change log is about packages. Its date is that of the source, so the same source gives the same file.
when=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
gzip -9nc >"$folder/changelog.Debian.gz" <<END
stakeout ($version-1) unstable; urgency=medium

  * Built from its source; changelog.gz in this folder lists the changes.

 -- stakeout developers <stakeout@users.noreply.github.com>  $(LC_ALL=C date -Ru -d "@$when")
END
if [ -e "$library" ]; then
  install -m 644 "$library" "$folder/$(basename "$library")"
  # The library's licence requires these notices with every copy.
  notices=$data/share/onnxruntime
  [ ! -d "$notices" ] || install -m 644 "$notices"/* "$folder/onnxruntime/"
fi
