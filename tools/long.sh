#!/usr/bin/env bash
# The long forms of the tests: `make long`, as root, takes an hour or two. Runs them one after the other, goes on when one fails,
# and says in the end which did. Each is a script of its own that can be run alone; what it says it skipped was not tried.
# FUZZ_SECONDS (300) is the time for each target of the fuzzer.
set -uo pipefail
cd "$(dirname "$0")/.."
export ORT_DISABLE_TELEMETRY=1
results=()

step() {
  local began=$SECONDS code=0
  printf '\n== %s\n' "$*"
  "$@" || code=$?
  results+=("$([ "$code" = 0 ] && echo passed || echo FAILED)  $((SECONDS - began)) s  $*")
}

command -v debootstrap >/dev/null && command -v lintian >/dev/null || { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
  apt-get install -y -qq --no-install-recommends debootstrap lintian systemd-container >/dev/null; }

step cargo build --release --locked
deb=$(tools/package.sh) || results+=('FAILED  the package was not built')
if [ -n "$deb" ]; then
  step tools/test_package.sh "$deb"
  step tools/test_dockerfile.py --deb "$deb" --debian "$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")"
fi
step tools/test_debian.sh trixie
step tools/test_install.sh "${CARGO_TARGET_DIR:-target}/release/stakeout"
step tools/test_systemd.sh "${CARGO_TARGET_DIR:-target}/release/stakeout"
step tools/fuzz.sh "${FUZZ_SECONDS:-300}"
step tools/prove_input.sh
step tools/prove_delivery.sh

printf '\n== all together\n'
printf '%s\n' "${results[@]}"
! printf '%s\n' "${results[@]}" | grep -q ^FAILED
