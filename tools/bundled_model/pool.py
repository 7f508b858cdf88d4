"""The training pictures: a pool of rendered scenes of the seen pairs, kept in memory as arrays.

Rendering costs more than a training step, so the scenes are painted once, by every core, a little larger than the
model's input; each time a picture is used it is cropped at another place.
"""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image

from labels import COLOUR_NAMES, SEEN, SHAPE_NAMES
from render import paint, random_scene

STORED = 72  # pixels a side; the model's crop is 64
CHUNK = 500


def table(scenes):
    """Scenes as numbers: one row a scene, two slots; -1 means that the slot is empty."""
    slots = {"colour": -1, "shape": -1, "size": 0.0, "x": 0.0, "y": 0.0}
    columns = {name: np.full((len(scenes), 2), fill, np.float32) for name, fill in slots.items()}
    for row, things in enumerate(scenes):
        for slot, thing in enumerate(things):
            columns["colour"][row, slot] = COLOUR_NAMES.index(thing.colour)
            columns["shape"][row, slot] = SHAPE_NAMES.index(thing.shape)
            for name in ("size", "x", "y"):
                columns[name][row, slot] = getattr(thing, name)
    return columns


def _chunk(seed):
    rng = np.random.default_rng([seed, 1])
    scenes = [random_scene(rng, SEEN) for _ in range(CHUNK)]
    pictures = [paint(things, rng).resize((STORED, STORED), Image.BICUBIC) for things in scenes]
    return np.stack([np.asarray(picture) for picture in pictures]), table(scenes)


def render_pool(count, workers):
    """`count` pictures (rounded up to whole chunks) and their table."""
    with ProcessPoolExecutor(workers) as executor:
        chunks = list(executor.map(_chunk, range(-(-count // CHUNK))))
    pictures = np.concatenate([pictures for pictures, _ in chunks])
    return pictures, {name: np.concatenate([c[name] for _, c in chunks]) for name in chunks[0][1]}


def load_or_render(count, workers, cache=None):
    """As `render_pool`, kept in the file `cache` between runs if one is named."""
    if cache and cache.exists():
        stored = np.load(cache)
        return stored["pictures"], {k: stored[k] for k in stored.files if k != "pictures"}
    pictures, columns = render_pool(count, workers)
    if cache:
        np.savez(cache, pictures=pictures, **columns)
    return pictures, columns
