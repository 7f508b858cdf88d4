#!/usr/bin/env bash
# What stands beside the program in a package: `tools/parts.sh BINARY FOLDER` writes man pages and completions, drawn from
# the program itself, the units for this system, the list of changes, the licences of all that is in it, and the ONNX Runtime library
# into FOLDER.
#
# The library is the one that `tools/setup.sh` fetches; ONNXRUNTIME names another.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:?the program} folder=${2:?the folder}
data=${XDG_DATA_HOME:-$HOME/.local/share}/stakeout
library=${ONNXRUNTIME:-$data/lib/libonnxruntime.so.1.31.1}

rm -rf "$folder"
mkdir -p "$folder/man" "$folder/onnxruntime"
"$binary" man "$folder/man"
gzip -9n "$folder"/man/*.1
"$binary" completions bash >"$folder/stakeout.bash"
"$binary" completions zsh >"$folder/_stakeout"
"$binary" completions fish >"$folder/stakeout.fish"
tools/units.sh "$folder/systemd"
gzip -9nc CHANGELOG.md >"$folder/changelog.gz"
tools/third_party.py | gzip -9nc >"$folder/third-party.gz"
# What Debian calls a change log is about packages. The date is that of the source, so that the same source gives the same file.
when=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
gzip -9nc >"$folder/changelog.Debian.gz" <<END
stakeout ($version-1) unstable; urgency=medium

  * Built from its source; changelog.gz beside this file says what changed.

 -- stakeout developers <stakeout@users.noreply.github.com>  $(LC_ALL=C date -Ru -d "@$when")
END
if [ -e "$library" ]; then
  install -m 644 "$library" "$folder/$(basename "$library")"
  # Its licence asks for these to go wherever it goes.
  notices=$data/share/onnxruntime
  [ ! -d "$notices" ] || install -m 644 "$notices"/* "$folder/onnxruntime/"
fi
