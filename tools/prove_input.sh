#!/usr/bin/env bash
# Runs the long form of the test with hostile messages (tests/it/mqtt_source/hostile.rs): `tools/prove_input.sh [MESSAGES]`, 100,000 by
# default, through a real broker into a running service. Prints the figures of docs/measurements/input.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export ORT_DISABLE_TELEMETRY=1 STAKEOUT_HOSTILE="${1:-100000}"
cargo test --locked --test it mqtt_source::hostile -- --nocapture --test-threads=1
