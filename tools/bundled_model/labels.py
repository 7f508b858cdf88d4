"""What the pictures can show: colours, shapes, the pairs held back from training, and the demo's labels.

Every other file reads its lists from here, so that the training, the figures in the model card and the demo
cannot disagree about which pairs were never trained together.
"""

# Hue in degrees, saturation and value as fractions: (low, high) of each. The ranges leave gaps, because uneven
# light and blur move a colour, and a brown that is lit like an orange would have no right answer.
COLOURS = {
    "red": ((-8, 4), (0.82, 1.0), (0.68, 0.92)),
    "orange": ((22, 31), (0.88, 1.0), (0.92, 1.0)),
    "yellow": ((51, 58), (0.78, 1.0), (0.92, 1.0)),
    "green": ((100, 145), (0.6, 0.95), (0.4, 0.75)),
    "blue": ((208, 230), (0.72, 1.0), (0.6, 0.95)),
    "purple": ((268, 284), (0.6, 0.9), (0.42, 0.68)),
    "pink": ((322, 342), (0.3, 0.48), (0.94, 1.0)),
    "brown": ((18, 27), (0.58, 0.75), (0.3, 0.42)),
    "black": ((0, 360), (0.0, 0.2), (0.03, 0.11)),
    "white": ((0, 360), (0.0, 0.04), (0.95, 1.0)),
}

# The first word is the name used in labels; the others appear now and then in training captions.
SHAPES = {
    "circle": ["disc"],
    "square": [],
    "triangle": [],
    "star": [],
    "heart": [],
    "cross": ["plus sign"],
    "ring": ["hoop"],
    "moon": ["crescent", "crescent moon"],
    "arrow": [],
    "house": ["home"],
    "tree": ["pine tree"],
    "car": ["automobile"],
    "fish": [],
    "mug": ["cup"],
    "umbrella": [],
    "boat": ["ship", "sailing boat"],
    "key": [],
    "flower": ["blossom"],
}

COLOUR_NAMES = list(COLOURS)
SHAPE_NAMES = list(SHAPES)
PAIRS = [(c, s) for s in SHAPE_NAMES for c in COLOUR_NAMES]


def _held_out():
    """Two of the ten colours of each shape. Every colour is held back for three or four shapes, and every
    colour and shape is still seen in at least 14 and 8 other pairs."""
    pairs = []
    for i, shape in enumerate(SHAPE_NAMES):
        for k in (i % 10, (i * 3 + 6) % 10 if (i * 3 + 6) % 10 != i % 10 else (i + 5) % 10):
            pairs.append((COLOUR_NAMES[k], shape))
    return pairs


UNSEEN = _held_out()
SEEN = [pair for pair in PAIRS if pair not in set(UNSEEN)]
