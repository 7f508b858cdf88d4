#!/usr/bin/env bash
# Builds the package for arm64 (Raspberry Pi and others) on an amd64 machine: `tools/cross_arm64.sh [SUITE]`, as root. It prints the path of
# the package. SUITE is the release of Debian that the package is for (trixie).
#
# A clean Debian (tools/clean_debian.sh) gets Debian's cross compiler, and FFmpeg's libraries for both architectures side by side (multiarch).
# The program is built twice: for arm64, and for this machine, because man pages and completions are printed by the program itself.
# This machine's Rust and cargo folders are used. Without root, debootstrap or systemd-nspawn it is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/skip.sh
. tools/skip.sh
suite=${1:-trixie}
triple=aarch64-unknown-linux-gnu

[ "$(id -u)" = 0 ] || skip 'making a Debian needs root'
[ "$(uname -m)" = x86_64 ] || skip 'this machine is not amd64: on arm64 run tools/package.sh'
for tool in debootstrap systemd-nspawn rustup; do
  command -v "$tool" >/dev/null || missing "$tool is missing: apt-get install debootstrap systemd-container; rustup from https://rustup.rs"
done
# The standard library for arm64.
rustup target list --installed | grep -qx "$triple" || rustup target add "$triple" >&2

cargo_home=${CARGO_HOME:-$HOME/.cargo} rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
target=$PWD/target/cross-$suite
mkdir -p "$target"
work=$(mktemp -d /var/tmp/cross-arm64.XXXXXX)
trap 'rm -rf "$work"' EXIT
tools/clean_debian.sh "$work/root" "$suite"

# Settings of package mirrors and proxies are passed on.
passed=()
while IFS='=' read -r name _; do
  case $name in PIP_* | CARGO_REGISTRIES* | CARGO_SOURCE* | http_proxy | https_proxy | no_proxy | SSL_CERT_FILE) passed+=("--setenv=$name=${!name}") ;; esac
done < <(env)

cat >"$work/root/build" <<END
#!/bin/bash
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
dpkg --add-architecture arm64
apt-get update -qq
apt-get install -y -qq --no-install-recommends build-essential crossbuild-essential-arm64 cmake nasm pkg-config libclang-dev \\
  python3 python3-pip git systemd lib{avcodec,avformat,avutil,swscale}-dev lib{avcodec,avformat,avutil,swscale}-dev:arm64 >/dev/null
cd /src
git config --global --add safe.directory /src
cargo deb --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deb --version 3.8.0

# For this machine: it prints man pages and completions.
cargo build --release --locked

# For arm64: the compiler and the linker of Debian, and the libraries of that architecture.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++ AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
export PKG_CONFIG_ALLOW_CROSS=1
export PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu='--target=aarch64-linux-gnu -I/usr/include/aarch64-linux-gnu'
cargo build --release --locked --target $triple

# ONNX Runtime for arm64, and the list of licences of what is in that program.
STAKEOUT_MACHINE=aarch64 tools/setup.sh package
CARGO_BUILD_TARGET=$triple tools/parts.sh "\$CARGO_TARGET_DIR/release/stakeout" target/package
rm -f "\$CARGO_TARGET_DIR"/debian/*_arm64.deb
cargo deb --no-build --locked --target $triple -o "\$CARGO_TARGET_DIR/debian/"
END
chmod 755 "$work/root/build"
systemd-nspawn -q -D "$work/root" --register=no --keep-unit --resolv-conf=replace-host --console=pipe \
  --bind="$PWD:/src" --bind="$cargo_home" --bind="$rustup_home" \
  --setenv=CARGO_HOME="$cargo_home" --setenv=RUSTUP_HOME="$rustup_home" --setenv=CARGO_TARGET_DIR="/src/target/cross-$suite" \
  --setenv=XDG_DATA_HOME="/src/target/cross-$suite/data" \
  --setenv=PATH="$cargo_home/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "${passed[@]}" \
  /build </dev/null >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; echo 'FAILED: the package for arm64 cannot be built' >&2; exit 1; }

deb=$(echo "$target"/debian/*_arm64.deb)
# What can be checked without an arm64 machine: the architecture of the package, of the program and of ONNX Runtime, and that every library
# that they need is one of the package or of its dependencies.
[ "$(dpkg-deb -f "$deb" Architecture)" = arm64 ] || { echo "FAILED: $deb is not for arm64" >&2; exit 1; }
dpkg-deb -x "$deb" "$work/deb"
for file in "$work/deb/usr/bin/stakeout" "$work"/deb/usr/lib/stakeout/libonnxruntime.so.*; do
  # Bytes 18 and 19 of an ELF file are its machine: 183 is AArch64.
  [ "$(od -An -tu2 -j18 -N2 "$file" | tr -d ' ')" = 183 ] || { echo "FAILED: $file is not for arm64" >&2; exit 1; }
done
dpkg-deb -f "$deb" Depends | grep -q libavcodec || { echo "FAILED: $deb does not depend on FFmpeg" >&2; exit 1; }
echo "$deb"
