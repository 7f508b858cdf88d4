#!/usr/bin/env python3
"""Draws the pictures in docs/images/ as SVG.

    tools/diagrams.py [--program target/release/stakeout] [--only NAME] [--dark]

`frame-path`, `trigger-states` and `fleet` are drawn from the descriptions below. `at-work` and `replay` show real output: they run the
built program with the sample pictures of the bundled model, `at-work` also with a Mosquitto on a free port (as `make demo` does).
The pictures follow the colour scheme of the reader; `--dark` writes the dark colours only, to look at them.
Only the standard library is needed.
"""

import argparse
import base64
import contextlib
import html
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import demo

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
SAMPLES = ROOT / "models/bundled/samples"

# Colours by class: light, dark.
COLOURS = {
    "page": ("fill", "#ffffff", "#0d1117"),
    "card": ("fill", "#f6f8fa", "#161b22"),
    "main": ("fill", "#e7f1fb", "#12304f"),
    "warm": ("fill", "#fff1d6", "#4a3510"),
    "good": ("fill", "#e3f4e5", "#143d1f"),
    "bar": ("fill", "#1f6fb4", "#58a6ff"),
    "rest": ("fill", "#dfe4ea", "#30363d"),
    "ink": ("fill", "#1f2328", "#e6edf3"),
    "faint": ("fill", "#59636e", "#9198a1"),
    "link": ("fill", "#0a5aa8", "#79b8ff"),
    "warn": ("fill", "#9a4a00", "#f0b35a"),
    "edge": ("stroke", "#c3cad2", "#3d444d"),
    "line": ("stroke", "#59636e", "#9198a1"),
    "head": ("fill", "#59636e", "#9198a1"),
    "rule": ("stroke", "#c62828", "#ff7b72"),
    "ruleink": ("fill", "#c62828", "#ff7b72"),
}
SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


class Drawing:
    """An SVG that is built mark by mark."""

    def __init__(self, width, height, title, dark=False):
        self.width, self.height, self.title, self.dark, self.marks = width, height, title, dark, []

    def box(self, x, y, width, height, style, radius=8):
        self.marks.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" class="{style}"/>')

    def text(self, x, y, words, style="ink", size=14, anchor="start", bold=False, mono=False):
        """Words in backticks are code."""
        weight = ' font-weight="600"' if bold else ""
        family = f' font-family="{MONO}" xml:space="preserve"' if mono else ""
        parts = [html.escape(part) for part in ([words] if mono else words.split("`"))]
        code = f'<tspan font-family="{MONO}" font-size="{size - 0.5}">'
        words = "".join(f"{code}{part}</tspan>" if number % 2 else part for number, part in enumerate(parts))
        self.marks.append(f'<text x="{x}" y="{y}" class="{style}" font-size="{size}" text-anchor="{anchor}"{weight}{family}>'
                          f"{words}</text>")

    def titled(self, x, y, width, height, style, title, lines=()):
        """A box with a title and smaller lines below it, centred."""
        self.box(x, y, width, height, f"{style} edge")
        middle, top = x + width / 2, y + height / 2 - 8.5 * len(lines) + 5
        self.text(middle, top, title, size=15, anchor="middle", bold=True)
        for number, line in enumerate(lines, 1):
            self.text(middle, top + 1 + 17 * number, line, "faint", 12, "middle")

    def arrow(self, *points, label=None, at=None, anchor="middle", dashed=False):
        """A line through these points, with a head at the last one."""
        path = " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(points))
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.marks.append(f'<path d="{path}" class="line" fill="none" stroke-width="1.6" marker-end="url(#head)"{dash}/>')
        if label:
            for number, line in enumerate(label.split("\n")):
                self.text(at[0], at[1] + 15 * number, line, "faint", 12, anchor)

    def curve(self, path):
        self.marks.append(f'<path d="{path}" class="line" fill="none" stroke-width="1.6" marker-end="url(#head)"/>')

    def image(self, x, y, width, height, data, kind="jpeg"):
        encoded = base64.b64encode(data).decode()
        self.marks.append(f'<image x="{x}" y="{y}" width="{width}" height="{height}" '
                          f'href="data:image/{kind};base64,{encoded}"/>')

    def svg(self):
        light = "".join(f".{name}{{{key}:{colour}}}" for name, (key, colour, _) in COLOURS.items())
        dark = "".join(f".{name}{{{key}:{colour}}}" for name, (key, _, colour) in COLOURS.items())
        style = dark if self.dark else f"{light}@media (prefers-color-scheme: dark){{{dark}}}"
        marks = "\n".join(self.marks)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
                f'height="{self.height}" font-family="{SANS}" role="img">\n<title>{html.escape(self.title)}</title>\n'
                f"<style>{style}</style>\n"
                '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
                'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" class="head"/></marker></defs>\n'
                f'<rect width="{self.width}" height="{self.height}" rx="10" class="page"/>\n{marks}\n</svg>\n')


def frame_path(dark, _program):
    """From a source to a subscriber."""
    drawing = Drawing(1000, 470, "The path of a frame through stakeout", dark)

    # The threads, as columns.
    for x, width, name in [(20, 180, "a thread for each source"), (224, 272, "threads `prepare` and `model`"),
                           (520, 170, "thread `judge`"), (714, 266, "delivery")]:
        drawing.box(x, 16, width, 306, "card", 10)
        drawing.text(x + width / 2, 38, name, "faint", 12, "middle")

    drawing.titled(36, 56, 148, 110, "main", "Source", ["folder, camera,", "HTTP snapshot,", "MQTT topic"])
    drawing.titled(36, 214, 148, 92, "main", "Frame", ["decoded; one for", "each `every`"])
    drawing.arrow((110, 166), (110, 212))

    drawing.titled(240, 214, 108, 92, "main", "Prepare", ["resize, crop,", "normalise"])
    drawing.titled(378, 214, 102, 92, "main", "Model", ["picture to", "vector"])
    drawing.titled(240, 56, 240, 92, "main", "Scores", ["compare with the label vectors:", "0 to 1 for each label"])
    drawing.arrow((184, 260), (238, 260))
    drawing.arrow((348, 260), (376, 260))
    drawing.arrow((429, 214), (429, 150))

    drawing.titled(536, 56, 138, 92, "warm", "Judge", ["a trigger for each", "label and rule"])
    drawing.arrow((480, 102), (534, 102))
    drawing.titled(536, 214, 138, 92, "good", "Outbox", ["on disk, synced", "before delivery"])
    drawing.arrow((605, 148), (605, 212), label="alert", at=(616, 184), anchor="start")

    drawing.titled(730, 56, 106, 92, "card", "Observers", ["bounded;", "losses counted"])
    drawing.arrow((674, 102), (728, 102), dashed=True)
    drawing.text(850, 106, "scores on MQTT", "ink", 13)
    drawing.titled(730, 176, 106, 58, "good", "Publisher", [])
    drawing.titled(730, 248, 106, 58, "good", "Sinks", [])
    drawing.arrow((674, 250), (702, 250), (702, 205), (728, 205))
    drawing.arrow((674, 270), (702, 270), (702, 277), (728, 277))
    drawing.arrow((836, 205), (872, 205))
    drawing.arrow((836, 277), (872, 277))
    drawing.text(878, 203, "MQTT broker", "ink", 13, bold=True)
    drawing.text(878, 219, "snapshot, alert", "faint", 12)
    drawing.text(878, 275, "web server,", "ink", 13, bold=True)
    drawing.text(878, 291, "program", "ink", 13, bold=True)

    # What feeds the whole.
    drawing.titled(20, 366, 476, 86, "card", "Configuration", ["one file and `rules.d/`: read, checked as a whole, then applied;",
                                                              "an invalid file changes nothing"])
    drawing.arrow((110, 366), (110, 308), dashed=True)
    drawing.arrow((360, 366), (360, 324), dashed=True)
    drawing.text(124, 350, "sources", "faint", 12)
    drawing.text(374, 350, "label vectors", "faint", 12)
    drawing.arrow((496, 400), (605, 400), (605, 324), label="triggers", at=(516, 392), anchor="start", dashed=True)
    for number, line in enumerate(["A source lends each frame one of its few slots and", "gets it back when the alerts of the frame are on disk.",
                                   "So no queue can grow: a camera skips frames and", "counts them, a folder waits."]):
        drawing.text(640, 382 + 18 * number, line, "faint", 12.5)
    return drawing.svg()


def trigger_states(dark, _program):
    """What one label on one source goes through."""
    drawing = Drawing(1000, 390, "The states of a trigger", dark)
    drawing.text(30, 44, "A trigger: one label on one source", "ink", 17, bold=True)
    drawing.titled(30, 120, 170, 92, "card", "Idle", ["too few frames", "reach `threshold`"])
    drawing.titled(425, 120, 170, 92, "warm", "Pending", ["enough frames agree,", "`for` is not over yet"])
    drawing.titled(800, 120, 170, 92, "main", "Raised", ["`state` is `ON`"])

    drawing.arrow((200, 150), (423, 150), label="`hold` of the newest frames\nreach `threshold`", at=(311, 124))
    drawing.arrow((425, 186), (202, 186), label="fewer frames agree", at=(313, 206))
    drawing.arrow((595, 150), (798, 150), label="after `for`, and `cooldown`\nafter the last raise", at=(697, 124))
    drawing.text(697, 178, "alert: raised", "warn", 13, "middle", bold=True)
    drawing.curve("M885 212 L885 270 Q885 284 871 284 L129 284 Q115 284 115 270 L115 214")
    drawing.text(500, 273, "`hold` of the newest frames are below `clear_below`", "faint", 12, "middle")
    drawing.text(500, 306, "alert: cleared", "warn", 13, "middle", bold=True)
    drawing.text(30, 344, "With the defaults (`for: 0s`, no `cooldown`) a trigger passes through Pending within one frame.", "faint", 12.5)
    drawing.text(30, 364, "Outside the hours of `active` no frame counts towards a raise; a raised label is cleared as usual. "
                          "After a clear, counting starts again.", "faint", 12.5)
    return drawing.svg()


def fleet(dark, _program):
    """Many machines and one broker: each with its own cameras, or a group that shares pictures."""
    drawing = Drawing(1000, 470, "Many machines and one broker", dark)

    drawing.box(20, 16, 400, 226, "card", 10)
    drawing.text(220, 38, "each machine has its own cameras", "faint", 12, "middle")
    for number, name in enumerate(["gate", "barn", "shop"]):
        y = 54 + 60 * number
        drawing.box(36, y, 130, 48, "card edge")
        drawing.text(101, y + 29, ["2 cameras", "1 camera, a folder", "4 cameras"][number], "ink", 13, "middle")
        drawing.box(230, y, 170, 48, "main edge")
        drawing.text(315, y + 20, "stakeout", "ink", 14, "middle", bold=True)
        drawing.text(315, y + 38, f"prefix `{name}`", "faint", 12, "middle")
        drawing.arrow((166, y + 24), (228, y + 24))
        turn, end = 490 - 20 * number, 160 + 24 * number
        drawing.arrow((400, y + 24), (turn, y + 24), (turn, end), (518, end))

    drawing.box(20, 262, 400, 192, "card", 10)
    drawing.text(220, 284, "a group shares pictures: `share: farm`", "faint", 12, "middle")
    drawing.titled(36, 336, 130, 64, "card", "Recorder", ["publishes pictures"])
    for number in range(2):
        y = 304 + 76 * number
        drawing.box(230, y, 170, 56, "main edge")
        drawing.text(315, y + 24, "stakeout", "ink", 14, "middle", bold=True)
        drawing.text(315, y + 43, f"prefix `farm/{number}`", "faint", 12, "middle")
        shared, turn, start, end = 440 + 14 * number, 478 + 14 * number, 248 + 14 * number, 284 + 14 * number
        drawing.arrow((518, start), (shared, start), (shared, y + 20), (402, y + 20), dashed=True)
        drawing.arrow((400, y + 38), (turn, y + 38), (turn, end), (518, end))
    drawing.arrow((101, 400), (101, 438), (600, 438), (600, 316), label="every picture once", at=(520, 430))

    drawing.titled(520, 130, 160, 186, "good", "MQTT broker", ["alerts, states,", "snapshots, heartbeats"])

    for number, (name, line) in enumerate([("Home Assistant", "a device for each source"), ("Node-RED, programs", "`+/+/+/+/alert`"),
                                           ("Watching the watchers", "`+/heartbeat`, `+/status`")]):
        y = 96 + 84 * number
        drawing.box(770, y, 210, 64, "card edge")
        drawing.text(875, y + 28, name, "ink", 14, "middle", bold=True)
        drawing.text(875, y + 47, line, "faint", 12, "middle")
        drawing.arrow((680, 180 + 40 * number), (724, 180 + 40 * number), (724, y + 32), (768, y + 32))
    for number, line in enumerate(["Each machine keeps its alerts on its own disk until", "the broker has acknowledged them: a machine that is",
                                   "cut off loses none and delivers them later."]):
        drawing.text(640, 390 + 18 * number, line, "faint", 12.5)
    return drawing.svg()


def replay(_dark, program):
    """A plot of `stakeout replay`: 25 samples, one per second."""
    names = (["empty-wall"] * 3 + ["red-car-far-away"] * 2 + ["red-car"] * 3 + ["blue-car"] * 2 + ["empty-corner"] * 3
             + ["blue-umbrella"] * 4 + ["black-key"] + ["empty-corner"] * 3 + ["red-car"] * 2 + ["empty-wall"] * 2)
    labels = "labels: { red car: { threshold: 0.75, hold: 2 of 2 }, blue umbrella: { threshold: 0.75, clear_below: 0.5 } }"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        configuration = folder / "stakeout.yaml"
        configuration.write_text("mqtt: { url: mqtt://localhost }\nlabel_sets:\n  objects:\n    template: a photo of {}\n"
                                 f"    background: [an empty scene, a plain background, something else]\n    {labels}\n"
                                 "sources:\n  inbox: { folder: ., watch: [objects] }\n")
        pictures = folder / "day"
        pictures.mkdir()
        for second, name in enumerate(names):
            shutil.copyfile(SAMPLES / f"{name}.jpg", pictures / f"yard_20261123_0815{second:02}.jpg")
        plot = folder / "replay.svg"
        subprocess.run([program, "replay", "--config", configuration, "--plot", plot, pictures], check=True,
                       stdout=subprocess.DEVNULL, env=dict(os.environ, RUST_LOG="error"))
        return plot.read_text().replace(f"{folder}/", "")


def at_work(dark, program):
    """The demo: a picture, its scores, and the alert as a subscriber received it."""
    name = "blue-umbrella.jpg"
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stakeout-demo-")))
        port = demo.start_broker(stack, folder)
        messages = demo.subscribe(stack, port)
        with contextlib.redirect_stdout(sys.stderr):
            inbox = demo.start_stakeout(stack, folder, port, messages, program)
        demo.drop(SAMPLES / name, inbox)
        alert = demo.next_alert(messages, time.monotonic() + demo.PATIENCE)
        if alert is None:
            sys.exit("no alert came for the sample picture")
    payload, topic = alert["payload"], alert["topic"]

    drawing = Drawing(1000, 560, f"A picture of a blue umbrella raises an alert with a score of {payload['score']:.2f}", dark)
    drawing.text(28, 40, "1  A picture appears in a folder", "ink", 15, bold=True)
    drawing.image(28, 56, 300, 225, (SAMPLES / name).read_bytes())
    drawing.text(28, 300, f"inbox/{name}", "faint", 12, mono=True)

    drawing.text(372, 40, "2  Every label is scored", "ink", 15, bold=True)
    top, left, width = 78, 500, 390
    scores = dict(payload["scores"])
    threshold = payload["threshold"]
    for number, (label, score) in enumerate(scores.items()):
        y = top + 30 * number
        highest = label == payload["label"]
        drawing.text(left - 12, y + 5, label, "ink" if highest else "faint", 13, "end", bold=highest)
        drawing.box(left, y - 7, width, 14, "rest", 3)
        if score * width >= 1:
            drawing.box(left, y - 7, round(score * width, 1), 14, "bar", 3)
        drawing.text(left + width + 12, y + 5, f"{score:.2f}", "ink" if highest else "faint", 13, bold=highest)
    x, bottom = left + threshold * width, top + 30 * len(scores) - 8
    drawing.marks.append(f'<line x1="{x}" y1="{top - 16}" x2="{x}" y2="{bottom}" class="rule" stroke-width="1.5" '
                         'stroke-dasharray="5 4"/>')
    drawing.text(x, bottom + 16, f"threshold {threshold}", "ruleink", 12, "middle")

    drawing.text(28, 346, "3  An alert arrives over MQTT", "ink", 15, bold=True)
    drawing.box(28, 362, 944, 178, "card edge", 8)
    lines = [("$ mosquitto_sub -v -t 'demo/#'", "faint"), (topic, "link")]
    rows = [["state", "label", "score", "threshold"], ["source", "label_set", "time", "model"], ["frame"], ["snapshot"]]
    shown = dict(payload, frame={key: payload["frame"][key] for key in ["captured_at", "width", "height"]})
    for number, row in enumerate(rows):
        cells = ", ".join(f'"{key}": {json.dumps(shown[key])}' for key in row)
        end = ", ... }" if number == len(rows) - 1 else ","
        lines.append((("{ " if number == 0 else "  ") + cells + end, "ink"))
    for number, (line, style) in enumerate(lines):
        drawing.text(46, 390 + 26 * number, line, style, 14, mono=True)
    return drawing.svg()


PICTURES = {"at-work": at_work, "frame-path": frame_path, "trigger-states": trigger_states, "fleet": fleet, "replay": replay}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=pathlib.Path, default=demo.PROGRAM, help="the built stakeout (default: %(default)s)")
    parser.add_argument("--only", choices=PICTURES, help="draw only this picture")
    parser.add_argument("--dark", action="store_true", help="dark colours only")
    parser.add_argument("--out", type=pathlib.Path, default=IMAGES, help="the folder to write to (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        if arguments.only in (None, name):
            path = arguments.out / f"{name}.svg"
            path.write_text(draw(arguments.dark, arguments.program.resolve()))
            print(path)


if __name__ == "__main__":
    main()
