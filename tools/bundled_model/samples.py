"""Renders the demo's sample pictures: python tools/bundled_model/samples.py --model models/bundled

Each sample is (file, seed, things, alert). The file `samples.json` says which alert each picture must raise, or null.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from labels import UNSEEN
from render import Thing, paint

WIDTH, HEIGHT, QUALITY = 400, 300, 82

SAMPLES = [
    ("red-car.jpg", 1, [Thing("red", "car", 0.66, 0.5, 0.55)], "red car"),
    ("green-tree.jpg", 2, [Thing("green", "tree", 0.7, 0.42, 0.5)], "green tree"),
    ("pink-heart.jpg", 3, [Thing("pink", "heart", 0.45, 0.62, 0.4)], "pink heart"),
    ("blue-umbrella.jpg", 4, [Thing("blue", "umbrella", 0.68, 0.5, 0.48)], "blue umbrella"),
    ("purple-mug.jpg", 5, [Thing("purple", "mug", 0.5, 0.4, 0.58)], "purple mug"),
    ("yellow-fish.jpg", 6, [Thing("yellow", "fish", 0.6, 0.52, 0.52)], "yellow fish"),
    ("red-car-far-away.jpg", 7, [Thing("red", "car", 0.36, 0.7, 0.65)], "red car"),
    ("empty-wall.jpg", 8, [], None),
    ("empty-corner.jpg", 9, [], None),
    ("orange-star.jpg", 10, [Thing("orange", "star", 0.5, 0.45, 0.5)], None),
    ("black-key.jpg", 11, [Thing("black", "key", 0.62, 0.5, 0.5)], None),
    ("blue-car.jpg", 12, [Thing("blue", "car", 0.6, 0.48, 0.52)], None),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/bundled"))
    folder = parser.parse_args().model / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = []
    for name, seed, things, alert in SAMPLES:
        image = paint(things, np.random.default_rng([seed, 2026]), WIDTH, HEIGHT)
        image.save(folder / name, quality=QUALITY)
        shown = [f"{thing.colour} {thing.shape}" for thing in things]
        trained = all((thing.colour, thing.shape) not in UNSEEN for thing in things)
        manifest.append({"file": name, "shows": shown, "alert": alert, "pair_was_trained": trained if things else None})
    (folder / "samples.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
