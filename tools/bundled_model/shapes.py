"""The outlines. A shape is a list of strokes in a box from -1 to 1 (y points down), painted in order.

A stroke is (kind, points): `body` takes the object's colour, `hole` lets the background through, and `dark` and
`light` are neutral details such as wheels and windows, which keep a drawn thing from being a mere silhouette.
"""

import numpy as np


def disc(x=0.0, y=0.0, rx=0.95, ry=None, start=0.0, end=360.0, n=40):
    """Points on an ellipse, or on an arc of it."""
    t = np.radians(np.linspace(start, end, n))
    return [(x + rx * np.cos(a), y + (ry or rx) * np.sin(a)) for a in t]


def box(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _star():
    radius = [1.0, 0.42] * 5
    return [(r * np.sin(np.pi * i / 5), -r * np.cos(np.pi * i / 5)) for i, r in enumerate(radius)]


def _heart():
    t = np.linspace(0, 2 * np.pi, 48)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return list(zip(x / 17, -(y + 2.5) / 16))


def _cross(w=0.3, r=0.95):
    return [(-w, -r), (w, -r), (w, -w), (r, -w), (r, w), (w, w), (w, r), (-w, r), (-w, w), (-r, w), (-r, -w), (-w, -w)]


def _umbrella():
    dome = disc(0, 0.12, 1.0, 0.95, 180, 360)
    scallops = [p for x in (0.75, 0.25, -0.25, -0.75) for p in disc(x, 0.12, 0.25, 0.16, 360, 180, 10)]
    hook = disc(0.17, 0.78, 0.2, 0.2, 180, 0, 12) + disc(0.17, 0.78, 0.09, 0.09, 0, 180, 12)
    return [("dark", box(-0.05, -0.95, 0.05, 0.8)), ("dark", hook), ("body", dome + scallops)]


def _flower():
    petals = [("body", disc(0.56 * np.cos(a), 0.56 * np.sin(a), 0.37)) for a in np.radians(np.arange(0, 360, 60))]
    return petals + [("light", disc(0, 0, 0.27)), ("dark", disc(0, 0, 0.12))]


def _car():
    body = [(-1, 0.4), (-1, 0.02), (-0.88, -0.06), (-0.6, -0.1), (-0.36, -0.52), (0.34, -0.52), (0.62, -0.08),
            (0.94, 0.02), (1, 0.12), (1, 0.4)]
    windows = [[(-0.46, -0.1), (-0.28, -0.42), (-0.04, -0.42), (-0.04, -0.1)],
               [(0.06, -0.1), (0.06, -0.42), (0.28, -0.42), (0.48, -0.1)]]
    wheels = [stroke for x in (-0.55, 0.55)
              for stroke in (("dark", disc(x, 0.4, 0.25)), ("light", disc(x, 0.4, 0.1)))]
    return [("body", body)] + [("light", w) for w in windows] + wheels


OUTLINES = {
    "circle": [("body", disc())],
    "square": [("body", box(-0.82, -0.82, 0.82, 0.82))],
    "triangle": [("body", [(0, -0.95), (1, 0.8), (-1, 0.8)])],
    "star": [("body", _star())],
    "heart": [("body", _heart())],
    "cross": [("body", _cross())],
    "ring": [("body", disc()), ("hole", disc(rx=0.56))],
    "moon": [("body", disc()), ("hole", disc(0.46, -0.1, 0.8))],
    "arrow": [("body", [(-1, -0.22), (0.1, -0.22), (0.1, -0.7), (1, 0), (0.1, 0.7), (0.1, 0.22), (-1, 0.22)])],
    "house": [("body", box(0.4, -0.85, 0.62, -0.2)), ("body", [(0, -0.95), (1, -0.1), (-1, -0.1)]),
              ("body", box(-0.78, -0.12, 0.78, 0.9)), ("dark", box(-0.52, 0.3, -0.12, 0.9)),
              ("light", box(0.15, 0.15, 0.55, 0.5))],
    "tree": [("dark", box(-0.14, 0.5, 0.14, 1.0)), ("body", [(0, -1), (0.45, -0.4), (-0.45, -0.4)]),
             ("body", [(0, -0.7), (0.64, 0.1), (-0.64, 0.1)]), ("body", [(0, -0.3), (0.82, 0.64), (-0.82, 0.64)])],
    "car": _car(),
    "fish": [("body", disc(0.18, 0, 0.78, 0.5)), ("body", [(-0.4, 0), (-1, -0.55), (-0.84, 0), (-1, 0.55)]),
             ("body", [(0.0, -0.4), (0.2, -0.75), (0.45, -0.4)]), ("light", disc(0.6, -0.12, 0.13)),
             ("dark", disc(0.62, -0.12, 0.06))],
    "mug": [("body", disc(0.5, 0.05, 0.46, 0.5)), ("hole", disc(0.5, 0.05, 0.25, 0.28)),
            ("body", box(-0.85, -0.75, 0.42, 0.82)), ("dark", disc(-0.215, -0.75, 0.635, 0.13))],
    "umbrella": _umbrella(),
    "boat": [("dark", box(-0.06, -1, 0.04, 0.4)), ("body", [(0.1, -0.95), (0.85, 0.2), (0.1, 0.2)]),
             ("body", [(-0.12, -0.75), (-0.12, 0.2), (-0.7, 0.2)]),
             ("body", [(-1, 0.36), (1, 0.36), (0.6, 0.85), (-0.62, 0.85)])],
    "key": [("body", disc(-0.55, 0, 0.45)), ("hole", disc(-0.6, 0, 0.19)), ("body", box(-0.2, -0.13, 1, 0.13)),
            ("body", box(0.5, 0, 0.66, 0.46)), ("body", box(0.82, 0, 0.98, 0.42))],
    "flower": _flower(),
}

# How far a thing may be turned, in degrees: an arrow may point anywhere, a house is nearly upright.
TURN = {"circle": 180, "ring": 180, "arrow": 180, "key": 180, "star": 36, "flower": 30, "moon": 25,
        "square": 12, "cross": 12, "triangle": 14, "heart": 18}
UPRIGHT_TURN = 10
