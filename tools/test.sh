#!/usr/bin/env bash
# The tests: `make test`, or `tools/test.sh [ARGUMENTS OF CARGO TEST]`. They run as a normal user, without a network. At the end it
# prints which tests this machine does not allow, and why.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/skip.sh
. tools/skip.sh

# The tests load ONNX Runtime without the main function of the program, which switches its telemetry off.
export ORT_DISABLE_TELEMETRY=1
STAKEOUT_SKIPPED=$(mktemp)
export STAKEOUT_SKIPPED
trap 'rm -f "$STAKEOUT_SKIPPED"' EXIT

code=0
cargo test --locked "$@" || code=$?
printf '\n'
list_skipped
echo 'not part of `make test`: format, lints, documentation, licences, units, installation and Dockerfile (`make check`)'
exit "$code"
