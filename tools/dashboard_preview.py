#!/usr/bin/env python3
"""Draws docs/grafana.png: the dashboard grafana/stakeout.json with the data of a real service, without Grafana.

A real Prometheus scrapes a real `stakeout run` with the bundled model while pictures arrive, a camera is offline, another never appears,
files are broken, and the broker pauses. A second machine does not answer. Then the script runs every query of the dashboard, and draws the results in the places of the panels. Grafana
draws the same panels in its own style.

Needs Debian's `prometheus` and `mosquitto`, and matplotlib: tools/dashboard_preview.py [--minutes 14] [--stakeout FILE]
"""

import argparse
import contextlib
import datetime
import http.server
import io
import itertools
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates
import matplotlib.pyplot as plt
import PIL.Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "models/bundled/samples"
COLUMNS = 24  # of Grafana's grid
COLOURS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}
LINES = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300", "#c8f2c2", "#f9934e"]
PAPER, PANEL, WORDS, RULES = "#111217", "#181b1f", "#ccccdc", "#2c3035"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=14)
    arguments.add_argument("--stakeout", default=str(ROOT / "target/release/stakeout"))
    arguments.add_argument("--out", default=str(ROOT / "docs/grafana.png"))
    arguments = arguments.parse_args()
    dashboard = json.loads((ROOT / "grafana/stakeout.json").read_text())
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stakeout-preview-")))
        broker, camera, listen = free_port(), Camera(stack), free_port()
        mosquitto = start_broker(stack, folder, broker)
        start_stakeout(stack, folder, arguments.stakeout, broker, camera.port, listen)
        prometheus = start_prometheus(stack, folder, listen)
        live(folder / "inbox", mosquitto, camera, arguments.minutes * 60)
        # Rates are averages over five minutes, so the first five minutes are not drawn.
        begin = time.time() - max(arguments.minutes - 5, 1) * 60
        draw(dashboard, lambda query: ask(prometheus, query, begin, time.time()), arguments.out)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spawn(stack, command, folder, log):
    process = subprocess.Popen(command, cwd=folder, stdout=open(folder / log, "w"), stderr=subprocess.STDOUT)

    def end():
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()

    stack.callback(end)
    return process


def start_broker(stack, folder, port):
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    return spawn(stack, [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", "mosquitto.conf"], folder, "mosquitto.log")


class Camera:
    """An HTTP camera that returns a sample picture, another one every 7 s, and an error while it is offline."""

    def __init__(self, stack):
        self.away = False
        pictures = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))]
        camera = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if camera.away:
                    self.send_error(503)
                    return
                picture = pictures[int(time.time() / 7) % len(pictures)]
                self.send_response(200)
                self.send_header("Content-Type", "image/jpeg")
                self.send_header("Content-Length", str(len(picture)))
                self.end_headers()
                self.wfile.write(picture)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)


def start_stakeout(stack, folder, program, broker, camera, listen):
    (folder / "inbox").mkdir()
    (folder / "stakeout.yaml").write_text(
        f"""
mqtt: {{ url: "mqtt://127.0.0.1:{broker}" }}
listen: 127.0.0.1:{listen}
state_dir: state
label_sets:
  objects:
    template: a photo of {{}}
    background: [an empty scene, a plain background, something else]
    labels: {{ red car: 0.75, blue umbrella: 0.75, green tree: 0.75, purple mug: 0.75 }}
sources:
  inbox: {{ folder: inbox, watch: [objects] }}
  gate: {{ http: "http://127.0.0.1:{camera}/gate.jpg", every: 1s, watch: [objects] }}
  garage: {{ http: "http://127.0.0.1:{camera}/garage.jpg", every: 2s, watch: [objects] }}
  shed: {{ http: "http://127.0.0.1:9/shed.jpg", every: 2s, watch: [objects] }}
"""
    )
    spawn(stack, [program, "run", "--config", "stakeout.yaml"], folder, "stakeout.log")
    wait_for(f"http://127.0.0.1:{listen}/readyz")


def start_prometheus(stack, folder, listen):
    port = free_port()
    (folder / "prometheus.yml").write_text(
        f"""
global: {{ scrape_interval: 2s }}
scrape_configs:
  - job_name: stakeout
    static_configs:
      - {{ targets: ["127.0.0.1:{listen}"], labels: {{ instance: "farm:9464" }} }}
      - {{ targets: ["127.0.0.1:9"], labels: {{ instance: "barn:9464" }} }}
"""
    )
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
    spawn(stack, command + [f"--web.listen-address=127.0.0.1:{port}"], folder, "prometheus.log")
    wait_for(f"http://127.0.0.1:{port}/-/ready")
    return port


def wait_for(url):
    for _ in range(600):
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def live(inbox, mosquitto, camera, seconds):
    """A short day: single pictures, bursts, broken files, a camera that is offline, a broker that hangs."""
    pictures = itertools.cycle(sorted(SAMPLES.glob("*.jpg")))
    begin, number, stopped = time.time(), 0, False
    while (past := (time.time() - begin) / seconds) < 1:
        number += 1
        burst = 12 if number % 60 == 0 else 1
        for part in range(burst):
            picture = next(pictures)
            content = picture.read_bytes()
            broken = number % 25 == 0
            upload = inbox.parent / "upload"
            upload.write_bytes(content[: len(content) // 2] if broken else content)
            upload.rename(inbox / f"{number}-{part}-{picture.name}")
        camera.away = 0.5 < past < 0.62
        if stopped != (stop := 0.74 < past < 0.8):
            mosquitto.send_signal(signal.SIGSTOP if stop else signal.SIGCONT)
            stopped = stop
        time.sleep(1.5 + number % 3)


def ask(port, query, begin, end):
    """The resulting series: labels, times and values of each."""
    question = {"query": query, "start": begin, "end": end, "step": max(2, (end - begin) / 300)}
    url = f"http://127.0.0.1:{port}/api/v1/query_range?{urllib.parse.urlencode(question)}"
    answer = json.loads(urllib.request.urlopen(url, timeout=30).read())
    assert answer["status"] == "success", answer
    for series in answer["data"]["result"]:
        times = [datetime.datetime.fromtimestamp(when) for when, _ in series["values"]]
        yield series["metric"], times, [float(value) for _, value in series["values"]]


def draw(dashboard, series, out):
    plt.rcParams.update({"text.color": WORDS, "font.size": 7, "font.family": "DejaVu Sans"})
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) + 2
    figure = plt.figure(figsize=(12, rows * 0.25), facecolor=PAPER)
    title = f"{dashboard['title']}    drawn by tools/dashboard_preview.py from grafana/stakeout.json and data that Prometheus scraped from a service"
    figure.text(0.008, 1 - 0.9 / rows, title, va="center")
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        gap_x, gap_y = 0.12 / COLUMNS, 0.12 / rows
        left, width = place["x"] / COLUMNS + gap_x, place["w"] / COLUMNS - 2 * gap_x
        bottom, height = 1 - (place["y"] + 2 + place["h"]) / rows + gap_y, place["h"] / rows - 2 * gap_y
        figure.patches.append(
            plt.Rectangle((left, bottom), width, height, transform=figure.transFigure, facecolor=PANEL, edgecolor=RULES, lw=0.6, zorder=-1)
        )
        figure.text(left + 0.006, bottom + height - 0.75 / rows, panel["title"], va="center", weight="bold")
        answers = [
            (target.get("legendFormat", ""), answer)
            for target in panel["targets"]
            for answer in series(filled(target["expr"]))
        ]
        settings = panel["fieldConfig"]["defaults"]
        if panel["type"] == "table":
            table(figure, panel, [list(series(filled(target["expr"]))) for target in panel["targets"]], (left, bottom, width, height), rows)
            continue
        if panel["type"] == "stat":
            value = next(newest(answers), (None, float("nan")))[1]
            words, colour = stat(value, settings)
            figure.text(left + width / 2, bottom + height * 0.4, words, size=17 if len(words) < 9 else 11, color=colour, ha="center", va="center")
            continue
        inside = [left + 0.045, bottom + 2.1 / rows, width - 0.055, height - 3.5 / rows]
        lines(figure.add_axes(inside), answers, settings.get("unit"))
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100, facecolor=PAPER)
    PIL.Image.open(drawn).convert("RGB").quantize(64, dither=PIL.Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {pathlib.Path(out).stat().st_size / 1000:.0f} kB")


def filled(query):
    """The query with the values that Grafana's variables have by default."""
    return query.replace("$instance", ".*").replace("$source", ".*").replace("$__range", "1h")


def newest(answers):
    """Labels and value of each series that has not ended: an instant query does not return others."""
    last = max((times[-1] for _, (_, times, _) in answers), default=None)
    for _, (labels, times, values) in answers:
        if (last - times[-1]).total_seconds() < 30:
            yield labels, values[-1]


def table(figure, panel, queries, place, rows):
    """The rows of a table: one for each machine and source, with a column for each query."""
    left, bottom, width, height = place
    names = panel["transformations"][1]["options"]["renameByName"]
    columns = [names["instance"], names["source"]] + [names[f"Value #{target['refId']}"] for target in panel["targets"]]
    found = {}
    for column, answers in enumerate(queries):
        for labels, value in newest([("", answer) for answer in answers]):
            found.setdefault((labels["instance"], labels["source"]), {})[column] = value
    x = [left + 0.01 + width * at / len(columns) for at in range(len(columns))]
    for at, column in enumerate(columns):
        figure.text(x[at], bottom + height - 1.9 / rows, column, va="center", color="#6e9fff")
    for row, (key, values) in enumerate(sorted(found.items()), 1):
        y = bottom + height - (1.9 + row) / rows
        for at, words in enumerate(key):
            figure.text(x[at], y, words, va="center")
        for at, column in enumerate(columns[2:]):
            if at not in values:
                continue
            own = [rule["properties"] for rule in panel["fieldConfig"]["overrides"] if rule["matcher"]["options"] == column]
            settings = {rule["id"]: rule["value"] for rule in (own[0] if own else [])}
            words, colour = stat(values[at], {"thresholds": panel["fieldConfig"]["defaults"]["thresholds"]} | settings)
            figure.text(x[at + 2], y, words, va="center", color=colour if "custom.cellOptions" in settings else WORDS)


def stat(value, settings):
    words, colour = shown(value, settings.get("unit")), "green"
    for step in settings["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    for mapping in settings.get("mappings") or []:
        options = mapping["options"]
        if mapping["type"] == "special" and value != value:
            options = {f"{value:g}": options["result"]}
        if shown_as := options.get(f"{value:g}"):
            words, colour = shown_as["text"], shown_as.get("color", colour)
            break
    return words, COLOURS[colour]


def lines(axes, answers, unit):
    axes.set_facecolor(PANEL)
    axes.grid(color=RULES, lw=0.5)
    axes.tick_params(colors=WORDS, length=0, labelsize=6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (legend, (labels, times, values)), colour in zip(answers, itertools.cycle(LINES)):
        name = re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)
        axes.plot(times, values, lw=1.1, color=colour, label=name)
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(maxticks=7))
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit))
    top = max((value for _, (_, _, values) in answers for value in values if value == value), default=0)
    axes.set_ylim(0, top * 1.1 or 1)
    if answers:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.01, -0.09), ncols=4, frameon=False, fontsize=6,
            handlelength=1, columnspacing=1.2, labelspacing=0.2, borderaxespad=0,
        )
    else:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color=WORDS)


def shown(value, unit):
    """A value with its unit, as Grafana formats it."""
    if unit == "s":
        for size, name in [(3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")]:
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return "0 s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    return f"{value:.3g}" + (" /s" if unit == "ops" else "")


if __name__ == "__main__":
    main()
