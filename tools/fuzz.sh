#!/usr/bin/env bash
# Fuzzes every parser of outside data: `tools/fuzz.sh [SECONDS [TARGET...]]`, SECONDS for each (60). Exits with 1 at the first input
# that causes a panic, a hang (20 s) or 3 GB of memory, and prints the file with this input.
#
# Needs cargo-fuzz; the script builds it once. The sanitizer needs a nightly compiler (`rustup toolchain install nightly`). Without
# one, RUSTC_BOOTSTRAP lets the stable compiler accept its options.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_fuzz=0.13.1
seconds=${1:-60}
shift || true
targets=${*:-configuration mqtt_payload picture model_files model_weights hub_answers}

seed() {
  local corpus=fuzz/corpus
  mkdir -p $corpus/{configuration,mqtt_payload,picture,model_files,model_weights,hub_answers}
  cp config/*.yaml tests/it/mistakes/*.yaml $corpus/configuration/
  cp models/bundled/samples/* $corpus/picture/
  printf '%s\0%s\0%s' "$(cat models/bundled/config.json)" "$(cat models/bundled/tokenizer.json)" \
    "$(cat models/bundled/preprocessor_config.json)" > $corpus/model_files/bundled
  local picture
  picture=$(base64 -w 0 models/bundled/samples/red-car.jpg | head -c 400)
  { printf 'frigate/yard/snapshot\n'; head -c 600 models/bundled/samples/red-car.jpg; } > $corpus/mqtt_payload/picture
  printf 'frigate/yard/snapshot\ndata:image/jpeg;base64,%s' "$picture" > $corpus/mqtt_payload/text
  printf 'cam/x\n{"image": "%s", "time": 1795421730.5, "name": "Yard", "a": [{"b/c": "aGk="}]}' "$picture" > $corpus/mqtt_payload/json
  printf '{"sha": "0a1b", "siblings": [{"rfilename": "config.json"}]}' > $corpus/hub_answers/listing
  printf '//cdn.example/x?y#z' > $corpus/hub_answers/location
  local header='{"logit_scale":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"logit_bias":{"dtype":"F16","shape":[],"data_offsets":[4,6]}}'
  # The length of the header in eight bytes, the header, and two numbers.
  { printf "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0"; printf '%s\0\0\0\0\0\0' "$header"; } > $corpus/hub_answers/weights
  local config
  for config in '{"model_type":"clip","projection_dim":4,"vision_config":{"hidden_size":4,"image_size":8,"patch_size":4},"text_config":{"hidden_size":4}}' \
    '{"model_type":"siglip2","vision_config":{"num_patches":9,"patch_size":2}}' \
    '{"model_cfg":{"embed_dim":4,"vision_cfg":{"timm_model_name":"vit_pe_core_tiny_patch16_384","timm_pool":"map"},"text_cfg":{"width":4}}}'; do
    { printf '%s\0' "$config"; cat $corpus/hub_answers/weights; } > "$corpus/model_weights/$(printf '%s' "$config" | md5sum | head -c 8)"
  done
  printf '{"weight_map":{"a":"model-00001-of-00002.safetensors"}}' > $corpus/model_weights/index
}

cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz --version "$cargo_fuzz"
if rustc +nightly --version >/dev/null 2>&1; then cargo=(cargo +nightly); else cargo=(env RUSTC_BOOTSTRAP=1 cargo); fi

seed
for target in $targets; do
  printf '\n== %s\n' "$target"
  "${cargo[@]}" fuzz run "$target" -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1
done
