"""Renders scenes: coloured things on cluttered, noisy, unevenly lit, blurred backgrounds, some with nothing in them.

A scene is first decided (`random_scene`) and then painted (`paint`), each from its own seeded generator, so that a
picture can be made again from a number. Positions and sizes are fractions of the centred square that CLIP's
preprocessing keeps; a wider picture shows more background at its sides.
"""

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from labels import COLOURS, PAIRS
from shapes import OUTLINES, TURN, UPRIGHT_TURN

SMALL, LARGE = 0.40, 0.56  # below and above these an object may be called small or large


@dataclass
class Thing:
    colour: str
    shape: str
    size: float  # the side of its box
    x: float
    y: float


def random_scene(rng, pairs=PAIRS, kinds=(0.12, 0.73, 0.15)):
    """The things of one scene: none, one or two, with the probabilities `kinds`."""
    count = rng.choice(3, p=kinds)
    chosen = [pairs[i] for i in rng.integers(len(pairs), size=count)]
    if count == 1:
        size = rng.uniform(0.32, 0.72)
        reach = 0.5 - size / 2 - 0.05
        return [Thing(*chosen[0], size, 0.5 + rng.uniform(-reach, reach), 0.5 + rng.uniform(-reach, reach))]
    return _two_apart(rng, chosen) if count == 2 else []


def _two_apart(rng, pairs):
    """Two things side by side or one above the other, far enough apart not to touch."""
    sizes = rng.uniform(0.32, 0.42, 2)
    along = np.array([0.27, 0.73]) + rng.uniform(-0.02, 0.02, 2)
    across = rng.uniform(0.28, 0.72, 2)
    if rng.random() < 0.5:
        along = along[::-1]
    places = zip(along, across) if rng.random() < 0.6 else zip(across, along)
    return [Thing(*pair, size, x, y) for pair, size, (x, y) in zip(pairs, sizes, places)]


def paint(things, rng, width=144, height=144):
    """The picture of a scene, as a Pillow image."""
    colours = [_colour(rng, thing.colour) for thing in things]
    picture = _background(rng, width, height, colours)
    for thing, colour in zip(things, colours):
        _put(picture, thing, colour, rng)
    picture *= _smooth_field(rng, width, height, rng.uniform(0.0, 0.16)) * rng.uniform(0.86, 1.06)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    edge = min(width, height)
    image = image.filter(ImageFilter.GaussianBlur(edge * rng.uniform(0.0, 0.011)))
    return _grain(image, rng, rng.uniform(0, 9) * edge / 144)  # as strong after reduction, whatever the size


def _colour(rng, name):
    hue, saturation, value = (rng.uniform(*limits) for limits in COLOURS[name])
    return np.array(colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value), np.float32)


def _muted(rng, away_from):
    """A dull background colour in which none of the scene's things is invisible."""
    for _ in range(50):
        rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.34), rng.uniform(0.26, 0.86))
        rgb = np.array(rgb, np.float32)
        if all(np.abs(rgb - other).sum() > 0.75 for other in away_from):
            break
    return rgb


def _background(rng, width, height, colours):
    """Wall, floor, stains and scratches. Everything in it is pale, soft-edged or thin: never a nameable thing."""
    base = _muted(rng, colours)
    image = Image.new("RGB", (width, height), _bytes(base))
    draw = ImageDraw.Draw(image)
    edge = min(width, height)
    if rng.random() < 0.5:
        _floor(rng, draw, base, colours, width, height)
    for _ in range(rng.integers(0, 7)):
        _stain(rng, draw, base, width, height, edge)
    image = image.filter(ImageFilter.GaussianBlur(edge * rng.uniform(0.006, 0.03)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 7)):
        _scratch(rng, draw, base, width, height, edge)
    picture = np.asarray(image, np.float32) / 255
    return picture * _smooth_field(rng, width, height, rng.uniform(0.02, 0.2), cells=int(rng.integers(3, 12)))


def _floor(rng, draw, base, colours, width, height):
    other = 0.55 * base + 0.45 * _muted(rng, colours)
    left, right = (np.array([0.5, 0.5]) + rng.uniform(-0.35, 0.35) + rng.uniform(-0.12, 0.12, 2)) * height
    draw.polygon([(0, left), (width, right), (width, height), (0, height)], fill=_bytes(other))


def _stain(rng, draw, base, width, height, edge):
    """An irregular patch, little different from the wall."""
    n = rng.integers(5, 10)
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    radius = edge * rng.uniform(0.05, 0.35) * rng.uniform(0.35, 1.0, n)
    angles = np.sort(rng.uniform(0, 2 * np.pi, n))
    tint = base + rng.uniform(-0.09, 0.09) + rng.uniform(-0.03, 0.03, 3)
    draw.polygon(list(zip(x + radius * np.cos(angles), y + radius * np.sin(angles))), fill=_bytes(tint))


def _scratch(rng, draw, base, width, height, edge):
    """A thin line, or a scatter of specks, of any dull colour."""
    tint = _bytes(base + rng.uniform(-0.22, 0.22) + rng.uniform(-0.05, 0.05, 3))
    if rng.random() < 0.6:
        points = rng.uniform(-0.1, 1.1, (rng.integers(2, 4), 2)) * (width, height)
        draw.line([tuple(p) for p in points], fill=tint, width=max(1, int(edge * rng.uniform(0.004, 0.018))))
        return
    for x, y in rng.uniform(0, 1, (rng.integers(3, 14), 2)) * (width, height):
        r = edge * rng.uniform(0.003, 0.014)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=tint)


def _put(picture, thing, colour, rng):
    """Paints one thing, with its shadow, shading and neutral details, onto the picture in place."""
    height, width, _ = picture.shape
    edge = min(width, height)
    side = int(thing.size * edge * 1.5)
    body, dark, light = _masks(thing.shape, side, thing.size * edge, rng)
    left = int(width / 2 + (thing.x - 0.5) * edge - side / 2)
    top = int(height / 2 + (thing.y - 0.5) * edge - side / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    patch = picture[y0:y1, x0:x1]
    shadow = np.asarray(Image.fromarray(body).filter(ImageFilter.GaussianBlur(side * 0.03)), np.float32) / 255
    shadow = np.roll(shadow, (int(side * 0.035), int(side * rng.uniform(-0.035, 0.035))), (0, 1))
    patch *= 1 - rng.uniform(0, 0.45) * shadow[cut][..., None]
    shade = _shading(rng, side)[cut]
    greys = (0.1, 0.82) if colour.max() > 0.2 else (0.42, 0.82)
    if colour.min() > 0.8:
        greys = (0.15, 0.5)
    for mask, rgb in ((body, colour), (dark, greys[0] + rng.uniform(-0.04, 0.04)), (light, greys[1])):
        alpha = mask[cut][..., None].astype(np.float32) / 255
        patch += alpha * (shade * rgb - patch)


def _masks(shape, side, size, rng, oversample=2):
    """Body, dark and light masks of a shape, turned, stretched and perhaps mirrored; drawn large, then reduced."""
    limit = TURN.get(shape, UPRIGHT_TURN)
    turn = np.radians(rng.uniform(-limit, limit))
    mirror = 1 if shape == "moon" or rng.random() < 0.5 else -1
    stretch = rng.uniform(0.88, 1.12)
    scale = size / 2 * oversample * np.array([mirror * stretch, 1 / stretch])
    rotate = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    masks = {kind: Image.new("L", (side * oversample,) * 2) for kind in ("body", "dark", "light")}
    pens = {kind: ImageDraw.Draw(mask) for kind, mask in masks.items()}
    for kind, points in OUTLINES[shape]:
        placed = [tuple(p) for p in (np.array(points) @ rotate) * scale + side * oversample / 2]
        for name, pen in pens.items():
            pen.polygon(placed, fill=255 if name == kind else 0)
    return [np.asarray(masks[kind].resize((side, side), Image.BOX)) for kind in ("body", "dark", "light")]


def _shading(rng, side):
    """Light that falls off across a thing in some direction."""
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.22)
    axis = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    slope = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    return (1 + depth * slope)[..., None]


def _smooth_field(rng, width, height, depth, cells=3):
    """A field around 1 that changes slowly over the picture: uneven light, or blotches if `cells` is high."""
    coarse = rng.uniform(1 - depth, 1 + depth, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))[..., None]


def _grain(image, rng, sigma):
    pixels = np.asarray(image, np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _bytes(rgb):
    return tuple(int(v) for v in np.clip(np.asarray(rgb) * 255, 0, 255))
