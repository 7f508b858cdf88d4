#!/usr/bin/env bash
# Builds the Debian package for the machine's own kind (amd64, arm64): `tools/package.sh [VERSION]`, prints its name.
#
# Needs what `make setup` installs, and cargo-deb (built here once). For another kind of machine, run it there: the FFmpeg
# libraries that the program links are those of the distribution it is built on (docs/packaging.md).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_deb=3.8.0
version=${1-}
target=${CARGO_TARGET_DIR:-target}

cargo deb --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deb --version "$cargo_deb" >&2
tools/setup.sh package >&2
cargo build --release --locked >&2
tools/parts.sh "$target/release/stakeout" target/package

cargo deb --no-build --locked ${version:+--deb-version "$version"} -o "$target/debian/" >&2
find "$target/debian" -maxdepth 1 -name '*.deb' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2
