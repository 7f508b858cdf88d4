#!/usr/bin/env bash
# Runs the tests on a busy machine: `make stress`, or `tools/stress.sh [RUNS [ARGUMENTS OF CARGO TEST]]`. Beside them `stress-ng`
# keeps four processes at work. Prints a line for each run (5 by default). The output of a run is in target/stress.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
shift || true
command -v stress-ng >/dev/null || { echo 'stress-ng is missing: run tools/setup.sh stress'; exit 1; }

export ORT_DISABLE_TELEMETRY=1
logs=${CARGO_TARGET_DIR:-target}/stress
mkdir -p "$logs"
cargo test --locked --no-run --quiet "$@"
stress-ng --cpu 4 --quiet &
load=$!
trap 'kill "$load"' EXIT

failed=0
for run in $(seq "$runs"); do
  began=$SECONDS
  if cargo test --locked --no-fail-fast "$@" >"$logs/$run.log" 2>&1; then
    echo "run $run: passed in $((SECONDS - began)) s"
  else
    failed=$((failed + 1))
    echo "run $run: FAILED in $((SECONDS - began)) s: $(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$logs/$run.log" | tr '\n' ' ')($logs/$run.log)"
  fi
done
echo "$((runs - failed)) of $runs runs passed"
[ "$failed" = 0 ]
