#!/usr/bin/env bash
# Builds the Debian package for the machine's own kind (amd64, arm64): `tools/package.sh [VERSION]`, prints its name.
#
# Needs what `make setup` installs, and cargo-deb (built here once). For another kind of machine, run it there: the FFmpeg
# libraries that the program links are those of the distribution it is built on.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_deb=3.8.0
version=${1-}
target=${CARGO_TARGET_DIR:-target}
parts=target/package
library=${XDG_DATA_HOME:-$HOME/.local/share}/stakeout/lib/libonnxruntime.so.1.31.1

cargo deb --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deb --version "$cargo_deb" >&2
[ -e "$library" ] || tools/setup.sh demo >&2
cargo build --release --locked >&2

rm -rf "$parts"
mkdir -p "$parts/man"
install -m 644 "$library" "$parts/libonnxruntime.so.1.31.1"
"$target/release/stakeout" man "$parts/man"
gzip -9n "$parts"/man/*.1
"$target/release/stakeout" completions bash >"$parts/stakeout.bash"
"$target/release/stakeout" completions zsh >"$parts/_stakeout"
"$target/release/stakeout" completions fish >"$parts/stakeout.fish"
gzip -9nc CHANGELOG.md >"$parts/changelog.gz"

cargo deb --no-build --no-strip --locked ${version:+--deb-version "$version"} -o "$target/debian/" >&2
find "$target/debian" -maxdepth 1 -name '*.deb' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2
