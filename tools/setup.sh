#!/usr/bin/env bash
# Installs what is missing: `tools/setup.sh demo` for building and the demo, `tools/setup.sh test` for the test suite too,
# `tools/setup.sh package` for building a package.
#
# It says what it will install before it does, uses sudo only where you are not root, and asks nothing.
# What is no system package goes below your own data folder.
set -euo pipefail

rust_minimum=1.92.0
cargo_deny=0.20.2
data_dir=${XDG_DATA_HOME:-$HOME/.local/share}/stakeout

main() {
  case ${1-} in
    demo) check_rust; install_packages packages; install_onnxruntime ;;
    test) check_rust; install_packages all_packages; install_onnxruntime; install_cargo_deny ;;
    package) check_rust; install_packages build_packages; install_onnxruntime licences ;;
    *) fail "usage: tools/setup.sh demo|test|package" ;;
  esac
}

# A line is a package, then how to see that what it brings is there already.
build_packages() {
  cat <<'END'
build-essential    command -v cc && command -v c++ && command -v make
cmake              command -v cmake
nasm               command -v nasm
pkg-config         command -v pkg-config
libavcodec-dev     pkg-config --exists libavcodec
libavformat-dev    pkg-config --exists libavformat
libavutil-dev      pkg-config --exists libavutil
libswscale-dev     pkg-config --exists libswscale
libclang-dev       ls /usr/lib/llvm-*/lib/libclang.so*
python3            command -v python3
python3-pip        python3 -m pip --version
END
}

# What the demo needs beside that.
demo_packages() {
  cat <<'END'
mosquitto          test -x /usr/sbin/mosquitto
mosquitto-clients  command -v mosquitto_sub
openssl            command -v openssl
END
}

# What only the tests need: clips, and cameras to play them.
test_packages() {
  cat <<'END'
ffmpeg                           command -v ffmpeg
strace                           command -v strace
systemd-container                command -v systemd-nspawn
python3-gi                       /usr/bin/python3 -c 'import gi'
gir1.2-gst-rtsp-server-1.0       /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")'
gstreamer1.0-plugins-base        ls /usr/lib/*/gstreamer-1.0/libgstapp.so
gstreamer1.0-plugins-good        ls /usr/lib/*/gstreamer-1.0/libgstrtp.so
gstreamer1.0-plugins-bad         ls /usr/lib/*/gstreamer-1.0/libgstvideoparsersbad.so
END
}

packages() {
  build_packages
  demo_packages
}

all_packages() {
  packages
  test_packages
}

# What of a list (one of the functions above) is missing.
missing_packages() {
  "$1" | while read -r package check; do
    bash -c "$check" >/dev/null 2>&1 </dev/null || printf '%s ' "$package"
  done
}

install_packages() {
  local missing
  missing=$(missing_packages "$1")
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "this is neither Debian nor Ubuntu; please install yourself what these packages bring: $missing"
  say "will install from the distribution: $missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086  # a list of words on purpose
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  missing=$(missing_packages "$1")
  [ -z "$missing" ] || fail "still missing after the installation: $missing"
}

check_rust() {
  command -v cargo >/dev/null ||
    fail "Rust is missing: install it from https://rustup.rs (stakeout needs $rust_minimum or newer), then run this again"
  local found
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$rust_minimum" "$found" | sort -V | head -n 1)" = "$rust_minimum" ] ||
    fail "Rust $found is too old, stakeout needs $rust_minimum or newer: run 'rustup update'"
}

# The shared library out of the Python wheel: `pip download` needs no environment, runs no code of the package and is
# there with the full internet as well as with only a package mirror. Any Python version's wheel holds the same library.
# With `licences` those are kept beside it, too: who passes the library on passes them on.
install_onnxruntime() {
  local version=1.31.1 sha256 platform
  case $(uname -m) in
    x86_64) sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f platform=manylinux_2_28_x86_64 ;;
    aarch64) sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3 platform=manylinux_2_28_aarch64 ;;
    *) fail "there is no ONNX Runtime for $(uname -m) here: build libonnxruntime.so yourself and name it in ORT_DYLIB_PATH" ;;
  esac
  local library=$data_dir/lib/libonnxruntime.so.$version licences=$data_dir/share/onnxruntime
  if [ -e "$library" ] && { [ -z "${1-}" ] || [ -e "$licences/LICENSE" ]; }; then return 0; fi
  say "will download ONNX Runtime $version (24 MB) to $library"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  printf 'onnxruntime==%s --hash=sha256:%s\n' "$version" "$sha256" >"$work/requirements.txt"
  python3 -m pip download -q --disable-pip-version-check --no-deps --dest "$work" --require-hashes --requirement "$work/requirements.txt" \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --platform "$platform" ||
    fail "ONNX Runtime could not be downloaded: is the network or the package mirror reachable ('pip config list')?"
  python3 -m zipfile -e "$work"/onnxruntime-*.whl "$work/wheel"
  mkdir -p "$data_dir/lib" "$licences"
  cp "$work/wheel/onnxruntime/ThirdPartyNotices.txt" "$work/wheel/onnxruntime/LICENSE" "$licences/"
  # Under its final name only when whole.
  cp "$work/wheel/onnxruntime/capi/libonnxruntime.so.$version" "$library.new"
  mv "$library.new" "$library"
}

install_cargo_deny() {
  ! cargo deny --version 2>/dev/null | grep -q . || return 0
  say "will build cargo-deny $cargo_deny (checks advisories and licences; some minutes, once)"
  cargo install --quiet --locked cargo-deny --version "$cargo_deny"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs root and there is no sudo; as root run: $*"
  fi
}

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

main "$@"
