#!/bin/sh
# Measures an NVIDIA GPU beside torch in half precision, in about ten minutes, and prints the figures as markdown.
#
#     tools/measure_gpu.sh FOLDER > gpu.md
#
# FOLDER is a full-size model that `stakeout models export` has written, with fp32 and, if it is there, fp16. PYTHON is an interpreter with
# onnxruntime-gpu, torch and transformers: ONNX Runtime's library, CUDA and cuDNN are taken from their packages, so nothing else has to
# be installed but NVIDIA's driver. SECONDS_EACH (10) is the time of one measurement.
set -eu

[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 64; }
folder=$(realpath "$1")
python=${PYTHON:-python3} seconds=${SECONDS_EACH:-10}
cd "$(dirname "$0")/.."
stakeout=${STAKEOUT:-target/release/stakeout}
[ -x "$stakeout" ] || cargo build --release >&2
command -v nvidia-smi >/dev/null || { echo "$0: there is no nvidia-smi: is this a machine with an NVIDIA GPU?" >&2; exit 1; }

# The library of onnxruntime-gpu, and the folders of NVIDIA's packages beside torch.
if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    ORT_DYLIB_PATH=$("$python" -c '
import glob, os, onnxruntime
print(glob.glob(os.path.join(os.path.dirname(onnxruntime.__file__), "capi", "libonnxruntime.so.*"))[0])')
    export ORT_DYLIB_PATH
fi
LD_LIBRARY_PATH=$("$python" -c '
import glob, site
print(":".join(f for s in site.getsitepackages() for f in glob.glob(s + "/nvidia/*/lib")))'):${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH

echo "Measured $(date -u +%Y-%m-%d) with \`tools/measure_gpu.sh\`, stakeout $(git rev-parse --short HEAD)."
echo "GPU: $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -n 1)."
echo "Processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) threads."
printf '\n```\n$ stakeout devices\n'
"$stakeout" devices
echo '```'

for variant in fp32 fp16; do
    suffix=_$variant
    [ "$variant" != fp32 ] || suffix=
    [ -f "$folder/onnx/vision_model$suffix.onnx" ] || continue
    printf '\n### %s, cuda, %s\n\n```\n' "$(basename "$folder")" "$variant"
    echo "\$ stakeout bench --variant $variant --device cuda --batches 1,4,8,16,32 --seconds $seconds"
    "$stakeout" bench --model "$folder" --variant "$variant" --device cuda --max-batch 32 --batches 1,4,8,16,32 \
        --seconds "$seconds" | sed "s|^$folder|$(basename "$folder")|"
    echo '```'
    printf '\n```\n$ stakeout models verify --variant %s --device cuda\n' "$variant"
    "$stakeout" models verify --model "$folder" --variant "$variant" --device cuda models/bundled/samples
    echo '```'
done

printf '\n### torch, the vision tower alone\n\n| precision | batch | pictures per second | least cosine to fp32 |\n|---|---|---|---|\n'
"$python" - "$folder" "$seconds" <<'END'
import sys, time

import torch
from transformers import AutoModel

folder, seconds = sys.argv[1], float(sys.argv[2])
model = AutoModel.from_pretrained(folder).eval().to("cuda")
size = model.config.vision_config.image_size
torch.manual_seed(1)
pictures = torch.randn(32, 3, size, size, device="cuda")


def vectors(model, pictures):
    found = model.get_image_features(pixel_values=pictures)
    found = getattr(found, "pooler_output", found)
    return torch.nn.functional.normalize(found.float(), dim=-1)


with torch.inference_mode():
    right = vectors(model, pictures)
    for precision in (torch.float32, torch.float16):
        model = model.to(precision)
        given = pictures.to(precision)
        cosine = (vectors(model, given) * right).sum(-1).min().item()
        for batch in (1, 4, 8, 16, 32):
            for _ in range(5):
                vectors(model, given[:batch])
            torch.cuda.synchronize()
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                vectors(model, given[:batch])
                torch.cuda.synchronize()
                count += batch
            rate = count / (time.perf_counter() - began)
            print(f"| {str(precision).removeprefix('torch.')} | {batch} | {rate:.0f} | {cosine:.6f} |", flush=True)
END
