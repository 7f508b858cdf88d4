#!/usr/bin/env bash
# Builds the Debian package for this machine's architecture (amd64, arm64) and prints its path: `tools/package.sh [VERSION]`.
#
# Needs what `make setup` installs, and cargo-deb, which the script builds once. Run it on the architecture and the release that the
# package is for: the program links the FFmpeg libraries of its distribution (docs/packaging.md).
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
