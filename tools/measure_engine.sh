#!/bin/sh
# Prints the figures of docs/measurements/engine.md as markdown.
#
#     tools/measure_engine.sh [--quick | --seconds N] FOLDER... > figures.md
#
# Each FOLDER is a full-size model with its weights, such as those that `tools/checkpoints.py full` makes. PYTHON is an
# interpreter with torch and transformers for the comparison; without these packages the comparison is skipped. The default of
# THREADS is 2. Run it on an idle machine: the output begins with the load of the machine.
set -eu

quick= seconds=20 rounds=2
if [ "${1:-}" = --quick ]; then
    quick=--quick seconds=2 rounds=1
    shift
elif [ "${1:-}" = --seconds ]; then
    seconds=$2
    shift 2
fi
[ $# -gt 0 ] || { echo "usage: $0 [--quick | --seconds N] FOLDER..." >&2; exit 64; }
threads=${THREADS:-2}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
stakeout=${STAKEOUT:-target/release/stakeout}
[ -x "$stakeout" ] || cargo build --release >&2

echo "Measured $(date -u +%Y-%m-%d) with \`tools/measure_engine.sh ${quick:---seconds $seconds}\`, stakeout $(git rev-parse --short HEAD)."
echo "Processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) threads;" \
    "load average at the start: $(cut -d ' ' -f 1-3 /proc/loadavg)."

for folder in "$@"; do
    name=$(basename "$folder")
    for variant in fp32 int8; do
        [ "$variant" = fp32 ] || [ -f "$folder/model.safetensors" ] || [ -f "$folder/onnx/vision_model_$variant.onnx" ] || continue
        # Eight pictures take half a minute in a large model at full precision, and are not faster per picture.
        batches=1,2,4,8
        size=$(find -L "$folder" \( -name 'model.safetensors' -o -name 'vision_model.onnx*' \) -exec du -cbL {} + | tail -n 1 | cut -f 1)
        [ "$variant" = int8 ] || [ "$size" -lt 2000000000 ] || batches=1,2
        printf '\n### %s, %s\n\n```\n' "$name" "$variant"
        echo "\$ stakeout bench --model $name --variant $variant --threads $threads --batches $batches --seconds $seconds"
        "$stakeout" bench --model "$folder" --variant "$variant" --threads "$threads" --batches "$batches" \
            --seconds "$seconds" | sed "s|^$folder|$name|"
        echo '```'
    done
done

if "$python" -c 'import torch, torchvision, transformers' 2>/dev/null; then
    for folder in "$@"; do
        [ -f "$folder/model.safetensors" ] || continue
        printf '\n### Against the pipeline: '
        "$python" tools/compare_hf.py "$folder" --stakeout "$stakeout" --threads "$threads" \
            --rounds "$rounds" --seconds "$seconds" $quick
    done
else
    printf '\nThe comparison with the pipeline was skipped: %s has no torch, torchvision and transformers.\n' "$python"
fi
printf '\nLoad average at the end: %s.\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)"
