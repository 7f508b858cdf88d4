#!/usr/bin/env python3
"""Makes checkpoints with random weights: tiny ones for tests, with what the reference answers, and full-size ones for measurements.

    pip install -r tools/reference/requirements.txt
    tools/checkpoints.py tiny                              # writes tests/fixtures/checkpoints again
    tools/checkpoints.py tiny clip-eos siglip              # only these
    tools/checkpoints.py full clip-b16 models/clip-b16     # a published shape, for `stakeout bench --model models/clip-b16`

The weights are seeded, so the same versions make the same ones. The reference of a checkpoint is the pipeline
`zero-shot-image-classification` of transformers, or open_clip for repositories in OpenCLIP's format. Answers of random weights mean
nothing, but a wrong operator, token or pixel changes them.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests/fixtures/checkpoints"
# Odd sizes, rotations, transparency, palettes: names relative to the fixtures, and samples of the bundled model.
PICTURES = [
    *(f"pictures/{name}" for name in [
        "bilevel_1.png", "exif_6.jpg", "gray_alpha_LA.png", "lossy.webp", "palette_P_trns.png", "panorama_1001x50.png", "portrait_422_progressive.jpg",
        "rgba_hidden_colour.png", "tiny_2x3.png",
    ]),
    *(f"../../../models/bundled/samples/{name}.jpg" for name in ["blue-umbrella", "green-tree", "red-car"]),
]


def main():
    typed = arguments()
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if typed.what == "tiny":
        tiny(typed.names)
    else:
        from reference import full_size

        full_size.write(typed.shape, typed.folder, typed.dtype)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(dest="what", required=True)
    tests = kinds.add_parser("tiny", help="the checkpoints of tests/fixtures/checkpoints, with goldens")
    tests.add_argument("names", nargs="*", metavar="NAME", help="only these [default: all]")
    full = kinds.add_parser("full", help="a published shape with random weights")
    full.add_argument("shape", metavar="SHAPE", help="clip-b32, clip-b16, clip-l14, siglip-b16 or siglip-so400m")
    full.add_argument("folder", type=Path, metavar="DIR")
    full.add_argument("--dtype", default="F32", choices=["F32", "F16", "BF16"], help="how the weights are stored [default: F32]")
    return parser.parse_args()


def tiny(names):
    from reference import goldens, hugging_face, openclip

    specs = {spec.name: spec for spec in [*hugging_face.all_checkpoints(), *openclip.all_checkpoints()]}
    if unknown := set(names) - set(specs):
        sys.exit(f"error: no such checkpoint: {', '.join(sorted(unknown))}. There are {', '.join(specs)}")
    pictures = [(Path(name).name, FIXTURES / name) for name in PICTURES]
    for name in names or specs:
        spec, folder = specs[name], FIXTURES / name
        spec.pictures = [path for _, path in pictures]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        spec.build(folder)
        goldens.write(folder / "goldens.json", spec.load(folder), spec, pictures)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {size / 1000:.0f} kB", flush=True)
    (FIXTURES / "README.md").write_text(readme(specs))


def readme(specs):
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ["transformers", "open_clip_torch", "timm", "torch", "torchvision", "tokenizers", "sentencepiece", "pillow"])
    rows = "\n".join(f"| `{spec.name}` | {spec.about} |" for spec in specs.values())
    return README.format(versions=versions, rows=rows)


README = """# Tiny checkpoints

Random weights of the real classes, in the files of the hub's repositories, with what the reference answers. `tests/it/parity/checkpoints.rs`
uses them. Nothing in them is trained, so the scores mean nothing; a wrong operator, token or pixel changes them.

`tools/checkpoints.py tiny` makes them again, with the versions of `tools/reference/requirements.txt`:
{versions}.
It writes this page, too. The same versions make the same weights; the last digits of the goldens depend on the processor.
To add a checkpoint, add it to `tools/reference/hugging_face.py` or `tools/reference/openclip.py` and to the list in the test.

| folder | what |
|---|---|
{rows}

`pictures/` has nine of the twelve pictures; the others are in `models/bundled/samples`. They are crops of scikit-image sample data (public domain
or CC0) and computed patterns.

## goldens.json

The reference is the pipeline `zero-shot-image-classification` of transformers (torchvision backend), in full precision whatever the stored type is; for folders
with `open_clip_config.json` it is open_clip, which gets the pictures as the pipeline decodes them: upright, and without transparency.

| key | what |
|---|---|
| `activation`, `logit_scale`, `logit_bias` | how cosines become scores: the scale itself, not its logarithm |
| `embedding` | the length of a vector |
| `label_sets` | `template` and `labels` |
| `text_embeds` | the first numbers of the normalised vector of each prompt, in the order of the label sets |
| `tokens` | texts, each with its token ids, special tokens included, without padding. Texts that are longer than the context are cut where the reference cuts them |
| `pictures` | `size` is width and height after the preprocessing; `pixels` is the start of the SHA-256 of its float32 values, little endian, channel by channel (free resolution: patch by patch); `embed` the first numbers of the normalised vector; `scores` in the order of `label_sets` and labels |
"""


if __name__ == "__main__":
    main()
