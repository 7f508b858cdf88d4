"""Writes the answers of a reference for one checkpoint, as small as they can be."""

import hashlib
import json

from . import texts

# Of a vector: enough that a wrong one cannot look right.
KEPT = 6


def write(path, reference, spec, pictures):
    """`pictures` are names and paths."""
    images, prompts = reference.embeddings()
    scale, bias = reference.logits()
    sets = spec.label_sets
    distinct = list(dict.fromkeys([*reference.prompts(), *texts.HARD]))
    found = {
        "activation": "sigmoid" if spec.sigmoid else "softmax",
        "logit_scale": digits(scale),
        "logit_bias": digits(bias),
        "embedding": images.shape[1],
        "label_sets": sets,
        "text_embeds": [[digits(value) for value in row[:KEPT].tolist()] for row in prompts],
        "tokens": [[text, reference.tokens(text)] for text in distinct],
        "pictures": {},
    }
    for (name, path_of), row in zip(pictures, images):
        size, values = reference.pixels(path_of)
        picture = {"size": size, "pixels": digest(values)}
        picture["embed"] = [digits(value) for value in row[:KEPT].tolist()]
        picture["scores"] = [[digits(score) for score in reference.scores(path_of, entry["template"], entry["labels"])] for entry in sets]
        found["pictures"][name] = picture
    check(found)
    path.write_text(lines(found))


def digits(number):
    return float(f"{number:.7g}")


def digest(values):
    """The start of the SHA-256 of float32 numbers, little endian."""
    return hashlib.sha256(values.astype("<f4").tobytes(order="C")).hexdigest()[:16]


def check(found):
    """Scores that are all alike, or 0 and 1, would prove nothing."""
    for number in range(3):
        rows = [picture["scores"][number] for picture in found["pictures"].values()]
        spread = sum(max(column) - min(column) for column in zip(*rows)) / len(rows[0])
        middling = sum(0.02 < score < 0.98 for row in rows for score in row) / sum(map(len, rows))
        if spread < 0.1 or middling < 0.5:
            raise SystemExit(f"label set {number}: the scores hardly differ between pictures ({spread:.3f}), or are 0 and 1 (others: {middling:.0%})")


def lines(found):
    """JSON with one text and one picture in a line, so that a change is seen in a diff."""
    def dumped(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    parts = []
    for key, value in found.items():
        if key in ("tokens", "text_embeds", "label_sets"):
            content = "[\n" + ",\n".join(dumped(entry) for entry in value) + "\n]"
        elif key == "pictures":
            content = "{\n" + ",\n".join(f"{dumped(name)}:{dumped(entry)}" for name, entry in value.items()) + "\n}"
        else:
            content = dumped(value)
        parts.append(f"{dumped(key)}:{content}")
    return "{" + ",\n".join(parts) + "}\n"
