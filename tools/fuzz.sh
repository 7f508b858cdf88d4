#!/usr/bin/env bash
# Fuzzes every parser of outside data for so many seconds each: `tools/fuzz.sh [SECONDS]`. Stops with 1 at the first
# input that makes one panic, hang (20 s) or take 3 GB, and says where it lies.
#
# Needs a nightly compiler (`rustup toolchain install nightly`) and cargo-fuzz (`cargo install cargo-fuzz --locked`).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets="configuration picture model_files hub_answers"

seed() {
  local corpus=fuzz/corpus
  mkdir -p $corpus/{configuration,picture,model_files,hub_answers}
  cp config/*.yaml tests/it/mistakes/*.yaml $corpus/configuration/
  cp models/bundled/samples/* $corpus/picture/
  printf '%s\0%s\0%s' "$(cat models/bundled/config.json)" "$(cat models/bundled/tokenizer.json)" \
    "$(cat models/bundled/preprocessor_config.json)" > $corpus/model_files/bundled
  printf '{"sha": "0a1b", "siblings": [{"rfilename": "config.json"}]}' > $corpus/hub_answers/listing
  printf '//cdn.example/x?y#z' > $corpus/hub_answers/location
  local header='{"logit_scale":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"logit_bias":{"dtype":"F16","shape":[],"data_offsets":[4,6]}}'
  # The length of the header in eight bytes, the header, and two numbers.
  { printf "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0"; printf '%s\0\0\0\0\0\0' "$header"; } > $corpus/hub_answers/weights
}

seed
for target in $targets; do
  printf '\n== %s\n' "$target"
  cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1
done
