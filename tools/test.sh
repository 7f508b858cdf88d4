#!/usr/bin/env bash
# Every check there is, in the order in which they fail fastest. Stops at the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests load ONNX Runtime without the program's own main function, which forbids this.
export ORT_DISABLE_TELEMETRY=1

check() {
  printf '\n== %s\n' "$*"
  "$@"
}

check cargo fmt --check
check cargo clippy --locked --all-targets -- -D warnings
# What only the fuzzer sees.
check cargo rustc --locked --lib --profile check -- --cfg fuzzing -D warnings
check env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
check cargo test --locked
check tools/deny.sh
check tools/verify_unit.sh
check tools/test_install.sh "${CARGO_TARGET_DIR:-target}/debug/stakeout"
check tools/test_dockerfile.py --look
check tools/test_systemd.sh "${CARGO_TARGET_DIR:-target}/debug/stakeout"
