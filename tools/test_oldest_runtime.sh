#!/usr/bin/env bash
# Runs the tests of models and scores with the oldest ONNX Runtime that the program accepts: tools/test_oldest_runtime.sh. The tests
# load the newest one otherwise. `tools/setup.sh gate` installs both.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/skip.sh
. tools/skip.sh
oldest=$(find "${XDG_DATA_HOME:-$HOME/.local/share}/stakeout/oldest" -name 'libonnxruntime.so.*' 2>/dev/null | sort -V | head -n 1)
[ -n "$oldest" ] || missing 'the oldest ONNX Runtime is missing: run tools/setup.sh gate'
export ORT_DYLIB_PATH=$oldest
echo "with $oldest"
cargo test --locked --quiet --test it -- parity:: bundled:: model_thread:: classify::
cargo test --locked --quiet --lib -- engine:: classify::
