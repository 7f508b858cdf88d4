#!/usr/bin/env bash
# Runs the long form of the simulation of outbox and publisher (src/daemon/simulation): 100,000 schedules of faults of disk, broker, clock
# and process. `STAKEOUT_SIMULATION_SCHEDULES` sets another number. It takes some ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
export STAKEOUT_PROVE=long
cargo test --locked --lib -- daemon::simulation --nocapture
