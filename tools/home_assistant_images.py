#!/usr/bin/env python3
"""Draws icon.png and logo.png of the Home Assistant app: `tools/home_assistant_images.py`. Needs Pillow and the font DejaVu Sans.

The icon is web/src/icon.svg, whose shapes are drawn here again: an eye on a blue square with round corners. The logo has the name beside
it, in a grey that is readable on white and on black.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

APP = Path(__file__).resolve().parent.parent / "packaging/home-assistant/stakeout"
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"
BLUE, WHITE, GREY = "#2463eb", "#ffffff", "#7a8698"
# Drawn larger, and then reduced: that makes smooth edges.
SCALE = 8


def cubic(points, steps=64):
    """The points of a cubic Bezier curve."""
    for step in range(steps + 1):
        t = step / steps
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        yield tuple(sum(weight * point[axis] for weight, point in zip(weights, points)) for axis in (0, 1))


def icon(size):
    unit = size * SCALE / 32
    image = Image.new("RGBA", (size * SCALE, size * SCALE))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, size * SCALE - 1, size * SCALE - 1), 8 * unit, fill=BLUE)
    # M5 16 s4-7 11-7 11 7 11 7-4 7-11 7 S5 16 5 16z: the smooth curves, with their control points written out.
    curves = [((5, 16), (5, 16), (9, 9), (16, 9)), ((16, 9), (23, 9), (27, 16), (27, 16)),
              ((27, 16), (27, 16), (23, 23), (16, 23)), ((16, 23), (9, 23), (5, 16), (5, 16))]
    outline = [(x * unit, y * unit) for curve in curves for x, y in cubic(curve)]
    width = 2.5 * unit
    draw.line(outline + outline[:2], fill=WHITE, width=round(width))
    # Round joins: `line` leaves gaps between short pieces of a thick line.
    for x, y in outline:
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=WHITE)
    draw.ellipse((12.5 * unit, 12.5 * unit, 19.5 * unit, 19.5 * unit), fill=WHITE)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def logo(height):
    mark = icon(height)
    font = ImageFont.truetype(FONT, round(height * 0.56) * SCALE)
    left, top, right, bottom = font.getbbox("stakeout")
    text = Image.new("RGBA", (right - left, bottom - top))
    ImageDraw.Draw(text).text((-left, -top), "stakeout", font=font, fill=GREY)
    text = text.resize((text.width // SCALE, text.height // SCALE), Image.Resampling.LANCZOS)
    gap = height // 5
    image = Image.new("RGBA", (height + gap + text.width + gap // 2, height))
    image.alpha_composite(mark, (0, 0))
    # The middle of the small letters is at the middle of the icon.
    image.alpha_composite(text, (height + gap, (height - text.height) // 2 - height // 24))
    return image


icon(128).save(APP / "icon.png", optimize=True)
logo(100).save(APP / "logo.png", optimize=True)
