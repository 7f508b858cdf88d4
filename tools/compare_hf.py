#!/usr/bin/env python3
"""Compares stakeout with the Hugging Face pipeline: whether the scores are equal, and how much faster it is.

Both score the same pictures with the same labels on the processor of this machine, in turns, so other work on the machine affects
both. The pipeline is `zero-shot-image-classification` with PyTorch in eager mode, with the model's own weights
(`model.safetensors` in FOLDER). stakeout uses the same weights, or ONNX files in the same folder; its speed is the one that `stakeout bench` reports, from
JPEG to scores.

    python tools/compare_hf.py FOLDER --stakeout target/release/stakeout

Needs torch, torchvision, transformers and pillow. Exits with 1 if a score differs by more than 1e-4 at full precision.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABELS = ["a person", "a parcel", "a car", "a dog", "a cat", "a bicycle", "an open gate", "a fire", "a street", "a bird"]
TEMPLATE = "This is a photo of {}."
MOST_DIFFERENCE = 1e-4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model folder with model.safetensors")
    parser.add_argument("--stakeout", type=Path, default=Path("target/release/stakeout"))
    parser.add_argument("--pictures", type=Path, help="a folder of JPEGs [default: three generated pictures of 1920 x 1080]")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each run of stakeout bench")
    parser.add_argument("--batches", default="1,2,4,8", help="batches to try for int8")
    parser.add_argument("--quick", action="store_true", help="one round, short runs")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    typed = parser.parse_args()
    if typed.quick:
        typed.rounds, typed.seconds = 1, 4.0
    return typed


def made_pictures(folder):
    """Generates pictures with surfaces, edges and a camera's noise."""
    import numpy
    from PIL import Image

    for seed in range(3):
        random = numpy.random.default_rng(seed)
        coarse = Image.fromarray(random.integers(0, 256, (9, 16, 3), dtype=numpy.uint8))
        pixels = numpy.asarray(coarse.resize((1920, 1080), Image.Resampling.BICUBIC)).astype(numpy.int16)
        pixels = numpy.clip(pixels + random.integers(-4, 5, pixels.shape), 0, 255).astype(numpy.uint8)
        Image.fromarray(pixels).save(folder / f"picture-{seed}.jpg", quality=90)
    return sorted(folder.glob("*.jpg"))


class Pipeline:
    def __init__(self, folder, threads):
        import torch
        from transformers import pipeline

        torch.set_num_threads(threads)
        self.pipe = pipeline("zero-shot-image-classification", model=str(folder), device="cpu")

    def scores(self, picture):
        found = self.pipe(str(picture), candidate_labels=LABELS, hypothesis_template=TEMPLATE)
        return {entry["label"]: entry["score"] for entry in found}

    def seconds(self, pictures):
        """The seconds for one picture, from the file to the scores, one picture at a time, which is the usual use of the pipeline."""
        begin = time.perf_counter()
        for picture in pictures:
            self.scores(picture)
        return (time.perf_counter() - begin) / len(pictures)


class Stakeout:
    def __init__(self, typed):
        self.program = str(typed.stakeout.resolve())
        self.model = ["--model", str(typed.folder.resolve())]
        self.threads = ["--threads", str(typed.threads)]

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def scores(self, pictures, variant):
        labels = [part for label in LABELS for part in ("--label", label)]
        arguments = ["classify", *self.model, "--variant", variant, "--template", TEMPLATE, "--format", "json", *labels]
        lines = self.run(*arguments, *map(str, pictures)).splitlines()
        return [{entry["label"]: entry["score"] for entry in json.loads(line)["scores"]} for line in lines]

    def bench(self, variant, picture, batches, seconds):
        arguments = ["bench", *self.model, *self.threads, "--variant", variant, "--picture", str(picture)]
        arguments += ["--batches", batches, "--seconds", str(seconds), "--labels", str(len(LABELS)), "--format", "json"]
        return json.loads(self.run(*arguments))


def difference(one, other):
    return max(abs(a[label] - b[label]) for a, b in zip(one, other, strict=True) for label in LABELS)


def measured(typed, pictures):
    stakeout = Stakeout(typed)
    variants = {"fp32": "1"}
    if (typed.folder / "onnx" / "vision_model_int8.onnx").is_file():
        variants["int8"] = typed.batches
    pipeline = Pipeline(typed.folder, typed.threads)
    expected = [pipeline.scores(picture) for picture in pictures]
    differences = {variant: difference(expected, stakeout.scores(pictures, variant)) for variant in variants}
    theirs, ours = [], {}
    for _ in range(typed.rounds):
        theirs.append(pipeline.seconds(pictures))
        for variant, batches in variants.items():
            bench = stakeout.bench(variant, pictures[0], batches, typed.seconds)
            for rate in bench["rates"]:
                ours.setdefault((variant, rate["batch"]), []).append(rate["whole_pictures_per_second"])
    baseline = statistics.median(theirs)
    rows = [
        {
            "variant": variant,
            "batch": batch,
            "ms": 1000 / statistics.median(rates),
            "times_as_fast": statistics.median(rates) * baseline,
            "rounds": len(rates),
            "greatest_difference": differences[variant],
        }
        for (variant, batch), rates in ours.items()
    ]
    return {"model": typed.folder.name, "threads": typed.threads, "pipeline_ms": baseline * 1000, "stakeout": rows}


def table(found):
    lines = [
        f"{found['model']}, {found['threads']} threads, 1080p JPEGs, {len(LABELS)} labels",
        "",
        "| | ms per picture | times as fast | greatest difference of a score |",
        "|---|---|---|---|",
        f"| pipeline | {found['pipeline_ms']:.0f} | 1.0 | |",
    ]
    for row in found["stakeout"]:
        name = f"stakeout {row['variant']}, batch of {row['batch']}"
        lines.append(f"| {name} | {row['ms']:.0f} | {row['times_as_fast']:.1f} | {row['greatest_difference']:.1e} |")
    return "\n".join(lines)


def main():
    typed = arguments()
    with tempfile.TemporaryDirectory() as folder:
        pictures = sorted(typed.pictures.glob("*.jpg")) if typed.pictures else made_pictures(Path(folder))
        if not pictures:
            sys.exit(f"error: there is no .jpg in {typed.pictures}")
        found = measured(typed, pictures)
    print(table(found) if typed.format == "table" else json.dumps(found, indent=2))
    full = [row["greatest_difference"] for row in found["stakeout"] if row["variant"] == "fp32"]
    if max(full) > MOST_DIFFERENCE:
        sys.exit(f"error: a score differs by {max(full):.1e} at full precision")


if __name__ == "__main__":
    main()
