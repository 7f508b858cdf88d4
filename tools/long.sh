#!/usr/bin/env bash
# Runs the long forms of the tests: `make long`, as root, for an hour or two. It continues after a failure, and lists all results at the
# end. Each test is a script of its own. A skipped part is printed as skipped. `make attacks` prints a table of its own.
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

command -v debootstrap >/dev/null && command -v lintian >/dev/null && command -v npm >/dev/null && command -v chromium >/dev/null || { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
  apt-get install -y -qq --no-install-recommends debootstrap lintian systemd-container nodejs npm chromium fonts-dejavu-core >/dev/null; }

step cargo build --release --locked
deb=$(tools/package.sh) || results+=('FAILED  the package was not built')
if [ -n "$deb" ]; then
  step tools/test_package.sh "$deb"
  release=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
  step tools/test_dockerfile.py --deb "$deb" --debian "$release"
  step tools/test_dockerfile.py --app --deb "$deb" --debian "$release"
fi
step tools/test_debian.sh trixie
step tools/test_install.sh "${CARGO_TARGET_DIR:-target}/release/stakeout"
step tools/test_systemd.sh "${CARGO_TARGET_DIR:-target}/release/stakeout"
step tools/test_api.sh "${CARGO_TARGET_DIR:-target}/release/stakeout"
step tools/test_node_red.py
step tools/test_home_assistant.py
step make attacks
step tools/prove_simulation.sh
step tools/prove_server.sh
STAKEOUT="${CARGO_TARGET_DIR:-target}/release/stakeout" step tools/test_model_servers.py
step cargo build --release --locked --example fill-history
step npm --prefix web ci --ignore-scripts --no-fund --no-audit
# A time that a person waits for: it depends on the machine, so it is no part of the gate.
step npm --prefix web run measure -- --limit 100
step cargo bench --locked --bench delivery

printf '\n== results\n'
printf '%s\n' "${results[@]}"
! printf '%s\n' "${results[@]}" | grep -q ^FAILED
