#!/usr/bin/env bash
# The long form of the proof of what comes in (tests/it/mqtt_source/hostile.rs): so many hostile messages, 100,000 unless
# told otherwise, through a real broker into a running service. Prints the figures that stand in docs/reliability.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export ORT_DISABLE_TELEMETRY=1 STAKEOUT_HOSTILE="${1:-100000}"
cargo test --locked --test it mqtt_source::hostile -- --nocapture --test-threads=1
