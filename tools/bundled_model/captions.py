"""English captions, and the captions that are true for each scene.

A caption describes up to two things, each by any of its colour, shape, size and place. A caption is kept together with its claims, so its
truth can be computed for every scene of a batch: a second red car in the batch also matches the first one's caption. Among true
captions the more exact one should score higher: `a red car` above `a car`, and `a car` above `something`.
"""

from dataclasses import dataclass, field

import numpy as np

from labels import COLOUR_NAMES, SEEN, SHAPE_NAMES, SHAPES
from render import LARGE, SMALL
from words import EMPTY, STRAY

SIZES = [[], ["small", "little", "tiny"], ["large", "big", "huge"]]
PLACES = [[], ["on the left", "at the left"], ["on the right", "at the right"], ["at the top", "in the upper part"],
          ["at the bottom", "in the lower part"], ["in the middle", "in the centre"]]
ANYTHING = ["something", "an object", "some object", "a thing", "something else", "some other object", "another object",
            "some other thing", "any object", "an unknown object"]
OPENINGS = ["", "a photo of ", "a picture of ", "an image of ", "this is a photo of ", "this is ", "there is ",
            "a camera picture of ", "a security camera photo of ", "i can see ", "a blurry photo of ", "here is ",
            "a noisy picture of ", "a snapshot of "]
ENDINGS = ["", "", "", "", ".", ".", " here", " in the room", " on a cluttered background", " in front of a wall",
           " in uneven light", " on a plain background"]
EXACTER = 4.0  # how much more weight each named colour or shape gives a true caption


@dataclass
class Caption:
    """A text and its claims: rows of (colour, shape, size, place), where -1 and 0 mean that the caption does not claim it."""
    text: str
    claims: list = field(default_factory=list)
    kind: str = "things"  # or "empty", or "stray" for what is never in a picture


def describe(rng, columns, row):
    """A caption that is true of one scene."""
    colours = columns["colour"][row]
    count = int((colours >= 0).sum())
    if count == 0:
        return empty(rng)
    claims = [_claim(rng, columns, row, slot) for slot in rng.permutation(count)]
    if count == 2 and rng.random() < 0.5:
        claims = claims[:1]
    if count == 1 and rng.random() < 0.06:
        claims = [(-1, -1, 0, 0)]
    return things(rng, claims)


def _claim(rng, columns, row, slot):
    colour, shape = int(columns["colour"][row, slot]), int(columns["shape"][row, slot])
    said = rng.random()
    if said < 0.18:
        colour = -1
    elif said < 0.36:
        shape = -1
    size, place = _size_and_place(columns, row, slot)
    return colour, shape, size * (rng.random() < 0.15), place * (rng.random() < 0.15)


def _size_and_place(columns, row, slot):
    side, x, y = (columns[name][row, slot] for name in ("size", "x", "y"))
    size = 1 if side < SMALL else 2 if side > LARGE else 0
    where = [(x < 0.42, 1), (x > 0.58, 2), (y < 0.42, 3), (y > 0.58, 4)]
    places = [place for true, place in where if true] or [5]
    return size, places[row % len(places)]


def things(rng, claims):
    phrases = [_phrase(rng, *claim) for claim in claims]
    join = " and " if rng.random() < 0.7 else " next to "
    return Caption(_sentence(rng, join.join(phrases)), claims)


def empty(rng):
    return Caption(_sentence(rng, EMPTY[rng.integers(len(EMPTY))]), kind="empty")


def stray(rng):
    """Names of things that are in no picture. Users may use them as labels, and they must score low."""
    noun = STRAY[rng.integers(len(STRAY))]
    colour = COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))] + " " if rng.random() < 0.3 else ""
    return Caption(_sentence(rng, with_article(colour + noun)), kind="stray")


def bank(rng, pairs=48, strays=24, others=6):
    """Captions that belong to no picture of the batch in particular, so that each batch offers many to choose from."""
    rows = [SEEN[i] for i in rng.choice(len(SEEN), pairs, replace=False)]
    claims = [(COLOUR_NAMES.index(c), SHAPE_NAMES.index(s), 0, 0) for c, s in rows]
    claims += [(int(c), -1, 0, 0) for c in rng.integers(len(COLOUR_NAMES), size=others)]
    claims += [(-1, int(s), 0, 0) for s in rng.integers(len(SHAPE_NAMES), size=others)]
    claims += [(-1, -1, 0, 0)] * (others // 2)
    return ([things(rng, [claim]) for claim in claims] + [stray(rng) for _ in range(strays)]
            + [empty(rng) for _ in range(others)])


def _phrase(rng, colour, shape, size, place):
    name = "" if colour < 0 else COLOUR_NAMES[colour]
    adjective = SIZES[size][rng.integers(3)] if size else ""
    if shape < 0 and not name and not adjective:
        text = ANYTHING[rng.integers(len(ANYTHING))]
    elif shape < 0:
        noun = ["object", "thing", "shape"][rng.integers(3)]
        text = with_article(f"{adjective} {name} {noun}")
        if name and not adjective and rng.random() < 0.4:
            text = f"something {name}"
    else:
        noun = SHAPE_NAMES[shape]
        others = SHAPES[noun]
        if others and rng.random() < 0.2:
            noun = others[rng.integers(len(others))]
        text = _noun_phrase(rng, adjective, name, noun)
    return f"{text} {PLACES[place][rng.integers(2)]}" if place else text


def _noun_phrase(rng, adjective, colour, noun):
    style = rng.random()
    if style < 0.65:
        return with_article(f"{adjective} {colour} {noun}")
    if style < 0.8:
        return " ".join(f"{adjective} {colour} {noun}".split())
    if style < 0.9 or not colour:
        return " ".join(f"the {adjective} {colour} {noun}".split())
    return with_article(f"{adjective} {noun}") + f" that is {colour}"


def with_article(noun):
    words = " ".join(noun.split())
    return ("an " if words[0] in "aeiou" else "a ") + words


def _sentence(rng, phrase):
    opening = OPENINGS[rng.integers(len(OPENINGS))] if rng.random() < 0.75 else ""
    return opening + phrase + ENDINGS[rng.integers(len(ENDINGS))]


def truth(columns, captions):
    """A weight for each scene (row) and caption (column): 0 if it is false, else higher the more exact it is."""
    objects = _objects(columns)
    count = objects["present"].sum(1)
    weights = np.zeros((len(count), len(captions)), np.float32)
    claims = np.array([(c.claims + [(-2, -2, 0, 0)] * 2)[:2] for c in captions])  # -2: no claim in this slot
    holds = [_holds(objects, claims[:, slot]) for slot in (0, 1)]  # each [scene, slot of the scene, caption]
    single, double = claims[:, 1, 0] == -2, claims[:, 1, 0] != -2
    either = holds[0].any(1) & single
    both = ((holds[0][:, 0] & holds[1][:, 1]) | (holds[0][:, 1] & holds[1][:, 0])) & double
    exact = EXACTER ** np.minimum((claims[..., :2] >= 0).sum((1, 2)), 3) * 1.3 ** (claims[..., 2:] > 0).sum((1, 2))
    is_thing = np.array([c.kind == "things" for c in captions])
    weights += ((either | both) & is_thing) * exact
    weights += (count == 0)[:, None] * np.array([c.kind == "empty" for c in captions])
    return weights


def _objects(columns):
    side, x, y = columns["size"], columns["x"], columns["y"]
    near = [np.ones_like(x, bool), x < 0.42, x > 0.58, y < 0.42, y > 0.58,
            (abs(x - 0.5) < 0.08) & (abs(y - 0.5) < 0.08)]
    sized = [np.ones_like(x, bool), side < SMALL, side > LARGE]
    return {"present": columns["colour"] >= 0, "colour": columns["colour"], "shape": columns["shape"],
            "place": np.stack(near), "size": np.stack(sized)}


def _holds(objects, claim):
    colour, shape, size, place = claim.T
    same_colour = (objects["colour"][..., None] == colour) | (colour == -1)
    same_shape = (objects["shape"][..., None] == shape) | (shape == -1)
    sized, placed = np.moveaxis(objects["size"][size], 0, -1), np.moveaxis(objects["place"][place], 0, -1)
    return objects["present"][..., None] & same_colour & same_shape & sized & placed
