#!/usr/bin/env bash
# Installs what is missing:
#   tools/setup.sh demo     to build, and for the demo
#   tools/setup.sh test     for the tests, too
#   tools/setup.sh gate     for every check of .ci/run, too
#   tools/setup.sh stress   for the tests on a busy machine
#   tools/setup.sh attacks  for the long forms of the tests, with every broker
#   tools/setup.sh package  to build a package
#
# It prints what it will install before it does, uses sudo if you are not root, and asks no questions. Files that are no system
# packages are written to your own data folder. STAKEOUT_MACHINE (x86_64, aarch64) selects ONNX Runtime for another machine than this one.
set -euo pipefail

rust_minimum=1.92.0
cargo_deny=0.20.2
data_dir=${XDG_DATA_HOME:-$HOME/.local/share}/stakeout

main() {
  case ${1-} in
    demo) check_rust; install_packages packages; install_onnxruntime ;;
    test) check_rust; install_packages tests_packages; install_onnxruntime ;;
    gate) check_rust; install_packages all_packages; install_onnxruntime; install_oldest_onnxruntime; install_components; install_cargo_deny ;;
    stress) check_rust; install_packages busy_packages; install_onnxruntime ;;
    attacks) check_rust; install_packages attack_packages; install_onnxruntime ;;
    package) check_rust; install_packages build_packages; install_onnxruntime licences ;;
    *) fail "usage: tools/setup.sh demo|test|gate|stress|attacks|package" ;;
  esac
}

# Each line is a package, and the command that succeeds if its files are installed.
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

# What the demo needs in addition.
demo_packages() {
  cat <<'END'
mosquitto          test -x /usr/sbin/mosquitto
mosquitto-clients  command -v mosquitto_sub
openssl            command -v openssl
END
}

# What the tests need in addition: clips, and cameras that play them.
test_packages() {
  cat <<'END'
ffmpeg                           command -v ffmpeg
strace                           command -v strace
python3-gi                       /usr/bin/python3 -c 'import gi'
gir1.2-gst-rtsp-server-1.0       /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")'
gstreamer1.0-plugins-base        ls /usr/lib/*/gstreamer-1.0/libgstapp.so
gstreamer1.0-plugins-good        ls /usr/lib/*/gstreamer-1.0/libgstrtp.so
gstreamer1.0-plugins-bad         ls /usr/lib/*/gstreamer-1.0/libgstvideoparsersbad.so
END
}

# What the other checks of the gate need in addition.
gate_packages() {
  cat <<'END'
systemd            test -x /lib/systemd/systemd && command -v systemd-analyze
systemd-container  command -v systemd-nspawn
procps             command -v ps
iproute2           command -v ip
util-linux         command -v unshare
curl               command -v curl
jq                 command -v jq
python3-yaml       /usr/bin/python3 -c 'import yaml'
prometheus         command -v promtool
nodejs             command -v node
npm                command -v npm
chromium           command -v chromium
fonts-dejavu-core  test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
END
}

packages() {
  build_packages
  demo_packages
}

tests_packages() {
  packages
  test_packages
}

all_packages() {
  tests_packages
  gate_packages
}

busy_packages() {
  tests_packages
  echo 'stress-ng  command -v stress-ng'
}

# The brokers of tools/brokers.py, and what the scripts need that docs/security.md and docs/reliability.md name.
attack_packages() {
  all_packages
  cat <<'END'
debootstrap      command -v debootstrap
rabbitmq-server  test -x /usr/lib/rabbitmq/bin/rabbitmq-server
redis-server     command -v redis-server
END
}

# The missing packages of a list, which is one of the functions above.
missing_packages() {
  "$1" | while read -r package check; do
    bash -c "$check" >/dev/null 2>&1 </dev/null || printf '%s ' "$package"
  done
}

install_packages() {
  local missing
  missing=$(missing_packages "$1")
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "this is neither Debian nor Ubuntu: install what these packages contain: $missing"
  say "will install from the distribution: $missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086  # several words
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

# Takes the shared library from the Python wheel: `pip download` needs no environment, runs no code of the package, and works with
# the whole internet as well as with only a package mirror. The wheels of all Python versions contain the same library.
# With `licences` their texts are written, too: they must be passed on with the library.
install_onnxruntime() {
  local version=1.31.1 licences=$data_dir/share/onnxruntime
  local library=$data_dir/lib/libonnxruntime.so.$version
  if [ -e "$library" ] && { [ -z "${1-}" ] || [ -e "$licences/LICENSE" ]; }; then return 0; fi
  fetch_onnxruntime "$version" "$library" \
    x86_64:5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f \
    aarch64:da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
  mkdir -p "$licences"
  cp "$work/wheel/onnxruntime/ThirdPartyNotices.txt" "$work/wheel/onnxruntime/LICENSE" "$licences/"
}

# The oldest version that the program accepts, for tools/test_oldest_runtime.sh, in a folder where no program looks for it.
install_oldest_onnxruntime() {
  local version=1.21.0
  local library=$data_dir/oldest/libonnxruntime.so.$version
  [ -e "$library" ] || fetch_onnxruntime "$version" "$library" \
    x86_64:8a5d09815a9e209fa0cb20c2985b34ab4daeba7aea94d0f96b8751eb10403201 \
    aarch64:7f9156cf6f8ee133d07a751e6518cf6f84ed37fbf8243156bd4a2c4ee6e073c8
}

# fetch_onnxruntime VERSION LIBRARY ARCHITECTURE:SHA256...: writes the library, and leaves the whole wheel in $work/wheel.
fetch_onnxruntime() {
  local version=$1 library=$2 machine sha256=
  machine=${STAKEOUT_MACHINE:-$(uname -m)}
  for known in "${@:3}"; do
    [ "${known%%:*}" != "$machine" ] || sha256=${known#*:}
  done
  [ -n "$sha256" ] || fail "there is no ONNX Runtime package for $machine: build libonnxruntime.so and set ORT_DYLIB_PATH to its path"
  say "will download ONNX Runtime $version (24 MB) to $library"

  work=$(mktemp -d)
  # shellcheck disable=SC2064  # this folder, also when there is another one later
  trap "rm -rf '$work'" EXIT
  printf 'onnxruntime==%s --hash=sha256:%s\n' "$version" "$sha256" >"$work/requirements.txt"
  python3 -m pip download -q --disable-pip-version-check --no-deps --dest "$work" --require-hashes --requirement "$work/requirements.txt" \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --platform "manylinux_2_28_$machine" ||
    fail "ONNX Runtime could not be downloaded: is the network or the package mirror reachable ('pip config list')?"
  python3 -m zipfile -e "$work"/onnxruntime-*.whl "$work/wheel"
  mkdir -p "$(dirname "$library")"
  # The final name only for a complete file.
  cp "$work/wheel/onnxruntime/capi/libonnxruntime.so.$version" "$library.new"
  mv "$library.new" "$library"
}

# rustfmt and clippy.
install_components() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return 0; fi
  command -v rustup >/dev/null || fail 'rustfmt or clippy is missing and there is no rustup: install both'
  say 'will install rustfmt and clippy'
  rustup component add rustfmt clippy
}

# Without optimisation, which would take several times as long to build and saves a second of each check.
install_cargo_deny() {
  ! cargo deny --version 2>/dev/null | grep -q . || return 0
  say "will build cargo-deny $cargo_deny, which checks advisories and licences"
  cargo install --quiet --locked --debug cargo-deny --version "$cargo_deny"
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
