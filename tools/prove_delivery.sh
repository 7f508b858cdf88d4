#!/usr/bin/env bash
# Runs the long form of the delivery tests (tests/it/delivery/guarantees.rs and power.rs), and measures how long an alert takes. Prints the
# figures of docs/measurements/delivery.md. It takes about an hour, most of it for a thousand kills of
# the service; the test with a full disk needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
export ORT_DISABLE_TELEMETRY=1 STAKEOUT_PROVE=long
cargo test --locked --test it -- delivery::guarantees delivery::power --nocapture --test-threads=1
cargo bench --locked --bench delivery
