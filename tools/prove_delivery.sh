#!/usr/bin/env bash
# The long form of the proofs of delivery (tests/it/delivery/proofs.rs and power.rs), and how long an alert takes. Prints the figures
# that stand in docs/reliability.md. Takes about a quarter of an hour; run it as root for the one with a full disk.
set -euo pipefail
cd "$(dirname "$0")/.."
export ORT_DISABLE_TELEMETRY=1 STAKEOUT_PROVE=long
cargo test --locked --test it -- delivery::proofs delivery::power --nocapture --test-threads=1
cargo bench --locked --bench delivery
