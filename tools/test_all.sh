#!/usr/bin/env bash
# Everything that is checked besides the tests: `make check`. The fast checks come first, and the first failure ends it. What is not
# installed is a failure. What this machine does not allow (root, mounts) is skipped, and printed at the end. The last lines say what
# was not checked although it should be, such as advisories without their database.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/skip.sh
. tools/skip.sh

export STAKEOUT_REQUIRE_ALL=1 ORT_DISABLE_TELEMETRY=1
STAKEOUT_SKIPPED=$(mktemp) STAKEOUT_UNCHECKED=$(mktemp)
export STAKEOUT_SKIPPED STAKEOUT_UNCHECKED
trap 'rm -f "$STAKEOUT_SKIPPED" "$STAKEOUT_UNCHECKED"' EXIT
binary=${CARGO_TARGET_DIR:-target}/debug/stakeout

check() {
  printf '\n== %s\n' "$*"
  "$@"
}

check cargo fmt --check
check tools/voice.py --limit 0
check tools/verify_unit.sh
check tools/test_dockerfile.py --look
check tools/test_dockerfile.py --app --look
loose=$(tools/pin_images.py --check)
[ -z "$loose" ] || not_checked "container images by digest: $loose have a tag only; run tools/pin_images.py where a registry can be reached"
check cargo clippy --locked --all-targets -- -D warnings
# The code that only the fuzzer compiles.
check cargo rustc --locked --lib --profile check -- --cfg fuzzing -D warnings
check env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
check promtool test rules grafana/alerts_test.yaml
check tools/deny.sh
# The program that the tests use: `cargo build` would build it once more, because the crates for tests change features of others.
check cargo test --locked --no-run --quiet
check /usr/bin/python3 tools/test_home_assistant_app.py "$binary"
check /usr/bin/python3 tools/test_manifests.py "$binary"
check tools/console.sh "$binary"
check tools/test_oldest_runtime.sh
check tools/test_install.sh "$binary"
check tools/test_systemd.sh "$binary"

printf '\n'
list_skipped
list_unchecked
