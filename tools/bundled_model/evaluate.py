"""Measures the exported files on fresh renders and prints the model card's table.

    python tools/bundled_model/evaluate.py --model models/bundled

Uses ONNX Runtime, tokenizers, Pillow and numpy. The seeds differ from those of the training, so no picture was
part of the training, and a pair called unseen was never shown or named in the training.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from captions import with_article
from labels import PAIRS, SEEN, UNSEEN
from render import paint, random_scene
from runtime import Bundled, Demo

WIDTH, HEIGHT = 320, 240


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/bundled"))
    parser.add_argument("--count", type=int, default=1000, help="pictures for each row of the table")
    parser.add_argument("--seed", type=int, default=20261123)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    bundled = Bundled(args.model)
    demo = Demo(bundled, json.loads((args.model / "demo-labels.json").read_text()))
    print(f"| measured on fresh renders ({WIDTH}x{HEIGHT}, {args.count} pictures a row) | result |\n|---|---|")
    rows = [*top1(bundled, rng, args.count), *demo_rows(demo, rng, args.count), *cost(bundled, args.model)]
    for what, result in rows:
        print(f"| {what} | {result} |")
    print_samples(demo, args.model / "samples")


def render(rng, pairs, kinds, count):
    """Scenes and their pictures."""
    scenes = [random_scene(rng, pairs, kinds) for _ in range(count)]
    return scenes, [paint(things, rng, WIDTH, HEIGHT) for things in scenes]


def top1(bundled, rng, count):
    """The label chosen among all pairs, seen and unseen together, for scenes of one thing; and of two."""
    texts = bundled.texts([f"a photo of {with_article(f'{c} {s}')}" for c, s in PAIRS])
    bare = bundled.texts([f"This is a photo of {c} {s}." for c, s in PAIRS])
    for name, pairs in (("seen", SEEN), ("unseen", UNSEEN)):
        scenes, images = render(rng, pairs, (0, 1, 0), count)
        vectors = bundled.images(images)
        chosen = [PAIRS[i] for i in bundled.scores(vectors, texts).argmax(1)]
        wanted = [(s[0].colour, s[0].shape) for s in scenes]
        yield (f"top-1 over all {len(PAIRS)} labels, things of the {len(pairs)} {name} pairs",
               percent(a == b for a, b in zip(chosen, wanted)))
        yield f"weakest of the {name} pairs", weakest(wanted, chosen)
        yield f"of these, colour right, {name} pairs", percent(a[0] == b[0] for a, b in zip(chosen, wanted))
        yield f"of these, shape right, {name} pairs", percent(a[1] == b[1] for a, b in zip(chosen, wanted))
        chosen = [PAIRS[i] for i in bundled.scores(vectors, bare).argmax(1)]
        yield (f"the same with stakeout's own template and bare labels (`This is a photo of red car.`), {name} pairs",
               percent(a == b for a, b in zip(chosen, wanted)))
    scenes, images = render(rng, PAIRS, (0, 0, 1), count)
    chosen = [PAIRS[i] for i in bundled.scores(bundled.images(images), texts).argmax(1)]
    yield (f"top-1 over all {len(PAIRS)} labels is one of the two things in the picture, all pairs",
           percent(a in [(t.colour, t.shape) for t in s] for a, s in zip(chosen, scenes)))


def demo_rows(demo, rng, count):
    """The demo's labels at their thresholds."""
    watched = [tuple(name.split()) for name in demo.names]
    _, images = render(rng, PAIRS, (1, 0, 0), count)
    yield "demo: empty scenes that raise any alert", percent(demo.alerts(images).any(1))
    others = [pair for pair in PAIRS if pair not in watched]
    _, images = render(rng, others, (0, 1, 0), count)
    yield "demo: scenes of one thing without a label that raise any alert", percent(demo.alerts(images).any(1))
    near = [p for p in others if any((p[0] == w[0]) != (p[1] == w[1]) for w in watched)]
    _, images = render(rng, near, (0, 1, 0), count)
    yield ("demo: the same, only things that share a colour or a shape with a label",
           percent(demo.alerts(images).any(1)))
    _, images = render(rng, others, (0, 0, 1), count)
    yield "demo: scenes of two things, both without a label, that raise any alert", percent(demo.alerts(images).any(1))
    for name, pairs in (("trained", set(SEEN)), ("never trained", set(UNSEEN))):
        chosen = [pair for pair in watched if pair in pairs]
        scenes, images = render(rng, chosen, (0, 1, 0), count)
        right = [watched.index((s[0].colour, s[0].shape)) for s in scenes]
        yield (f"demo: scenes of one thing with a label that raise its alert, pairs {name} ({listed(chosen)})",
               percent(demo.alerts(images)[np.arange(count), right]))


def cost(bundled, folder):
    """Bytes of everything but the card and the demo's pictures, and time at batch 1 on two threads."""
    files = [f for f in folder.rglob("*") if f.is_file() and f.parent.name != "samples" and f.name != "README.md"]
    yield "bytes, all files but this card and the samples", f"{sum(f.stat().st_size for f in files):,}"
    picture, text = Image.new("RGB", (WIDTH, HEIGHT)), ["a photo of a red car"]
    yield "one picture, with preprocessing", f"{milliseconds(lambda: bundled.images([picture])):.1f} ms"
    yield "one text", f"{milliseconds(lambda: bundled.texts(text)):.1f} ms"


def milliseconds(action, repeats=50):
    """The median over some runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def print_samples(demo, folder):
    print("\n| sample | expected alert | score (threshold) | highest other |\n|---|---|---|---|")
    for sample in json.loads((folder / "samples.json").read_text()):
        scores = demo.scores([Image.open(folder / sample["file"])])[0]
        right = demo.names.index(sample["alert"]) if sample["alert"] else None
        own = "-" if right is None else f"{scores[right]:.3f} ({demo.thresholds[right]})"
        others = [(score, name) for i, (score, name) in enumerate(zip(scores, demo.names)) if i != right]
        print(f"| {sample['file']} | {sample['alert'] or 'none'} | {own} | {max(others)[0]:.3f} {max(others)[1]} |")


def weakest(wanted, chosen, shown=3):
    """The pairs that were recognised least often, with the share that was right."""
    right = {pair: [a == b for a, b in zip(wanted, chosen) if a == pair] for pair in set(wanted)}
    worst = sorted((np.mean(flags), " ".join(pair)) for pair, flags in right.items())[:shown]
    return ", ".join(f"{name} {share:.0%}" for share, name in worst if share < 1) or "none missed"


def percent(flags):
    return f"{100 * float(np.mean(list(flags))):.2f} %"


def listed(pairs):
    return ", ".join(" ".join(pair) for pair in pairs)


if __name__ == "__main__":
    main()
