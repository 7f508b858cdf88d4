#!/usr/bin/env bash
# Installs what a task needs and is not there yet: `tools/setup.sh demo` or `tools/setup.sh test`.
#
# It says what it will install before it does, uses sudo only where you are not root, and asks nothing.
# Everything that is not a system package goes below your own data folder.
set -euo pipefail

task=${1:?usage: tools/setup.sh demo|test}

# --- ONNX Runtime: the shared library out of its Python wheel, pinned by version and sha256 -------------------------
ort_version=1.31.1
declare -A ort_sha256=(
  [x86_64]=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
  [aarch64]=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
)
data_dir=${XDG_DATA_HOME:-$HOME/.local/share}/stakeout
ort_library=$data_dir/lib/libonnxruntime.so.$ort_version

# What is installed from the distribution. A line is: the package, then how to see that it is there already.
packages() {
  cat <<'END'
build-essential    command -v cc && command -v c++
cmake              command -v cmake
nasm               command -v nasm
pkg-config         command -v pkg-config
python3            command -v python3
python3-pip        python3 -m pip --version
mosquitto          command -v mosquitto || test -x /usr/sbin/mosquitto
mosquitto-clients  command -v mosquitto_sub
END
  # The video sources are built on FFmpeg; its headers are read with libclang.
  cat <<'END'
libavcodec-dev     pkg-config --exists libavcodec
libavformat-dev    pkg-config --exists libavformat
libavutil-dev      pkg-config --exists libavutil
libswscale-dev     pkg-config --exists libswscale
libclang-dev       ls /usr/lib/llvm-*/lib/libclang.so
END
}

say() { printf '%s\n' "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

missing_packages() {
  packages | while read -r package check; do
    bash -c "$check" >/dev/null 2>&1 || printf '%s ' "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs root and there is no sudo; run as root: $*"
  fi
}

install_packages() {
  local missing
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "please install these yourself (this is not Debian or Ubuntu): $missing"
  say "will install from the distribution: $missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086  # a list of words on purpose
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  missing=$(missing_packages)
  [ -z "$missing" ] || fail "still missing after the installation: $missing"
}

check_rust() {
  command -v cargo >/dev/null ||
    fail "Rust is missing: install it from https://rustup.rs (stakeout needs $rust_minimum or newer), then run this again"
  local found
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$rust_minimum" "$found" | sort -V | head -n 1)" = "$rust_minimum" ] ||
    fail "Rust $found is too old: stakeout needs $rust_minimum or newer; run 'rustup update'"
}
