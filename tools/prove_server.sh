#!/usr/bin/env bash
# Runs the long form of the test that kills a model server in mid-stream: a hundred times, or as often as the first argument says. Every
# picture of a folder must be scored exactly once. `make test` kills it three times.
set -euo pipefail
cd "$(dirname "$0")/.."
STAKEOUT_SERVER_KILLS=${1:-100} cargo test --locked --test it -- \
  model_server::every_picture_is_scored_once_however_often_the_server_is_killed --exact --nocapture
