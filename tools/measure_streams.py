#!/usr/bin/env python3
"""Measures what cameras cost: processor time compared with ffmpeg, the share of scored frames, how many cameras a model can
score, memory, and memory over time.

usage: tools/measure_streams.py cpu     [--seconds 64] [--footage FILE] [--clips FOLDER]
       tools/measure_streams.py cameras [--model FOLDER] [--clips FOLDER]
       tools/measure_streams.py memory  [--cameras 8]
       tools/measure_streams.py soak    [--minutes 2]

It runs a built `stakeout` (target/release, else target/debug; STAKEOUT names another) with the bundled model, on clips
that ffmpeg makes. Needs ffmpeg; memory and soak also need the RTSP server that the tests use.

`cpu` counts processor time, so other work on the machine does not change the ratios. Of `stakeout` it counts the source's own
thread, which reads, decodes, compares and copies, without the model's thread. ffmpeg only decodes. A camera is opened once and stays
open for days, so the cost of opening is removed from both: each plays a recording of 16 s and a longer one, and the difference
counts. `cameras` runs the whole service on two processors in real time, with every sampled frame scored. It needs an idle
machine.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
CONFIGURATION = """
{model}mqtt: {{ url: mqtt://127.0.0.1:1 }}
state_dir: state
label_sets:
  objects: {{ background: [an empty scene], labels: {{ red car: 0.9, green tree: 0.9 }} }}
sources:
{sources}
"""
# A yard without movement, and a picture that moves everywhere, both with the noise of a sensor.
QUIET = "color=0x607060:size=1920x1080:rate=25,drawbox=x=0:y=0:w=1920:h=400:color=0x90a0c0:t=fill"
BUSY = "testsrc2=size=1920x1080:rate=25"
NOISE = "noise=alls=6:allf=t"
SCENES = {"still": QUIET, "busy": BUSY}
# Seconds. Long enough for `decode: auto` to measure how often key frames come.
OPENED = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cpu", "cameras", "memory", "soak"])
    parser.add_argument("--seconds", type=int, default=64, help="length of the measured part (cpu)")
    parser.add_argument("--footage", type=pathlib.Path, help="also print the share of scored frames of this recording (cpu)")
    parser.add_argument("--clips", type=pathlib.Path, help="keep the clips in this folder and use them again (cpu, cameras)")
    parser.add_argument("--model", help="a model folder or name instead of the bundled model (cameras)")
    parser.add_argument("--variant", default="auto", help="the variant of that model (cameras)")
    parser.add_argument("--cameras", type=int, default=8, help="the number of additional cameras (memory)")
    parser.add_argument("--minutes", type=float, default=2, help="the duration (soak)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stakeout-measure-") as folder:
        {"cpu": cpu, "cameras": cameras, "memory": memory, "soak": soak}[arguments.what](pathlib.Path(folder), arguments)


def cpu(folder, arguments):
    print(f"1080p25 H.264, {arguments.seconds} s, one frame per second; processor seconds for an hour of one camera:\n")
    print("| scene | key frame every | ffmpeg, all frames | decode: auto | ratio | scored |")
    print("|---|---|---|---|---|---|")
    for scene in SCENES:
        for group in [1, 4]:
            short, long = (recording(folder, arguments, scene, group, seconds) for seconds in (OPENED, OPENED + arguments.seconds))
            hour = 3600 / arguments.seconds
            reference = (ffmpeg(long) - ffmpeg(short)) * hour
            seconds, counts = play(folder, long)
            ours = (seconds - play(folder, short)[0]) * hour
            print(f"| {scene} | {group} s | {reference:.0f} | {ours:.0f} | {ours / reference:.2f} | {scored(counts)} |", flush=True)
    if arguments.footage:
        _, counts = play(folder, arguments.footage.resolve())
        print(f"\n{arguments.footage.name}: {scored(counts)} of the sampled frames are scored")


def recording(folder, arguments, scene, group, seconds):
    clips = (arguments.clips or folder).resolve()
    clips.mkdir(parents=True, exist_ok=True)
    file = clips / f"{scene}-{group}-{seconds}.mp4"
    return file if file.exists() else clip(file, SCENES[scene], seconds, group)


def cameras(folder, arguments):
    file = recording(folder, arguments, "busy", 1, 40)
    model = ""
    if arguments.model:
        model = f"model: {{ id: {json.dumps(arguments.model)}, variant: {arguments.variant} }}\n"
    # The cost of one frame, from the camera to its scores, gives the first number of cameras to try.
    source = f"  camera: {{ video: {file}, pace: full, decode: key_frames, watch: [objects] }}"
    with stakeout(folder, source, model) as (process, log):
        wait_for(process, log, "the model is loaded")
        began = process_seconds(process.pid)
        wait_for(process, log, "the recording is over")
        each = (process_seconds(process.pid) - began) / 40
    print(f"a frame costs {1000 * each:.1f} ms of processor time from the camera to its scores")
    count, step, most, least = max(1, int(1.8 / each)), 1.15, 0, None
    while least is None or most < least - max(1, least // 12):
        share = kept(folder, file, model, count)
        print(f"{count} cameras: {100 * share:.1f} % of their frames are scored in time", flush=True)
        if share >= 0.99:
            most = count
            count = int(count * step) + 1 if least is None else (most + least) // 2
        else:
            least = count
            count = (most + least) // 2 if most else int(count / step)
        if count == 0:
            break
    print(f"the most cameras (1080p25, one key frame and one scored frame per second) that two processors hold: {most}")


def kept(folder, file, model, count):
    """The share of frames that are scored if `count` cameras are played in real time on two processors."""
    source = "  camera{}: {{ video: {}, pace: real, decode: key_frames, watch: [objects] }}"
    sources = "\n".join(source.format(number, file) for number in range(count))
    two = sorted(os.sched_getaffinity(0))[:2]
    with stakeout(folder, sources, model, preexec_fn=lambda: os.sched_setaffinity(0, two)) as (process, log):
        wait_for(process, log, "the model is loaded")
        over, end = [], time.monotonic() + 45
        while len(over) < count and time.monotonic() < end:
            time.sleep(0.5)
            over = re.findall(r"the recording is over: .*? (\d+) sent", plain(log))
    # A camera that has not reached its end is late: its frames do not count.
    return sum(map(int, over)) / (40 * count)


def clip(file, graph, seconds, group, extra=()):
    """An H.264 recording (main profile, 4 Mbit/s) with a key frame every `group` seconds; eight seconds of it are repeated."""
    if seconds > 8:
        once = clip(file.with_stem(file.stem + "-once"), graph, 8, group, extra)
        words = ["-stream_loop", str(-(-seconds // 8) - 1), "-i", str(once), "-t", str(seconds), "-c", "copy", str(file)]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, stdin=subprocess.DEVNULL)
        return file
    words = ["-f", "lavfi", "-i", f"{graph},{NOISE}", "-t", str(seconds), "-c:v", "libx264", "-preset", "veryfast"]
    words += ["-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M", "-pix_fmt", "yuv420p", "-bf", "0"]
    words += ["-g", str(group * 25), "-keyint_min", str(group * 25), "-sc_threshold", "0", *extra, str(file)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, stdin=subprocess.DEVNULL)
    return file


def ffmpeg(file):
    """Does what network recorders do: decodes everything, and keeps one raw frame per second. Returns processor seconds."""
    words = ["-i", str(file), "-vf", "fps=1", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-y", "/dev/null"]
    process = subprocess.Popen(["ffmpeg", "-v", "error", *words], stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit("ffmpeg failed")
    return used.ru_utime + used.ru_stime


def play(folder, file):
    """Plays a recording like a camera; returns the processor seconds of the source's thread, and its counts."""
    source = f"  camera: {{ video: {file}, pace: full, unchanged: repeat, watch: [objects] }}"
    with stakeout(folder, source) as (process, log):
        line = wait_for(process, log, r"the recording is over: (.*)")
        return thread_seconds(process.pid, "source-camera"), line.group(1)


def scored(counts):
    """The share of scored frames among those that were sampled."""
    sent = int(re.search(r"(\d+) sent", counts).group(1))
    repeated = re.search(r"unchanged (\d+)|(\d+) unchanged", counts)
    repeated = int(next(filter(None, repeated.groups()))) if repeated else 0
    return f"{sent} of {sent + repeated} ({100 * sent / max(sent + repeated, 1):.0f} %)"


def memory(folder, arguments):
    with rtsp(folder) as (url, _):
        few, many = (resident_with(folder, url, count) for count in (1, 1 + arguments.cameras))
    each = (many - few) / arguments.cameras / 1024
    print(f"1 camera: {few / 1024:.1f} MiB; {1 + arguments.cameras} cameras (1080p25): {many / 1024:.1f} MiB")
    print(f"each additional camera: {each:.1f} MiB")


def resident_with(folder, url, cameras):
    """Resident memory in KiB, 20 s after every camera was opened."""
    sources = "\n".join(f"  camera{number}: {{ rtsp: '{url}', watch: [objects] }}" for number in range(cameras))
    with stakeout(folder, sources) as (process, log):
        for number in range(cameras):
            wait_for(process, log, rf"decoding.*camera{number}\b|camera{number}\b.*decoding")
        time.sleep(20)
        return resident(process.pid)


def soak(folder, arguments):
    """Kills the camera every 30 s, for three seconds."""
    end, seen, away = time.monotonic() + 60 * arguments.minutes, [], 0
    with rtsp(folder) as (url, restart), stakeout(folder, f"  camera: {{ rtsp: '{url}', watch: [objects] }}") as (process, log):
        wait_for(process, log, "decoding ")
        began = time.monotonic()
        while time.monotonic() < end:
            for _ in range(30):
                time.sleep(1)
                seen.append((time.monotonic() - began, resident(process.pid)))
            restart()
            away += 1
    # The first third is warming up.
    settled = seen[len(seen) // 3 :]
    print(f"{arguments.minutes:g} min, camera restarted {away} times: {seen[0][1] / 1024:.1f} MiB at first, "
          f"{settled[-1][1] / 1024:.1f} MiB at the end")
    print(f"slope over the last two thirds: {slope(settled) * 3600 / 1024:+.2f} MiB an hour")


def slope(points):
    """The slope of the least-squares line."""
    x, y = (sum(values) / len(points) for values in zip(*points))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def resident(pid):
    """Resident memory in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def thread_seconds(pid, name):
    """Processor seconds of a thread. The kernel keeps 15 letters of its name."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name[:15]:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICK
    sys.exit(f"there is no thread {name}")


def process_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def binary():
    named = os.environ.get("STAKEOUT")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for file in [named] if named else [target / "release/stakeout", target / "debug/stakeout"]:
        if pathlib.Path(file).exists():
            return str(file)
    sys.exit("build it first: cargo build --release")


@contextlib.contextmanager
def stakeout(folder, sources, model="", **how):
    file, log = folder / "stakeout.yaml", folder / "log"
    file.write_text(CONFIGURATION.format(sources=sources, model=model))
    with open(log, "wb") as output:
        environment = {**os.environ, "RUST_LOG": "stakeout=debug"}
        process = subprocess.Popen([binary(), "run", "--config", str(file)], stderr=output, env=environment, **how)
    try:
        yield process, log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(process, log, pattern, patience=900):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = re.search(pattern, plain(log))
        if found:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.2)
    sys.exit(f"the log never contained {pattern!r}:\n{log.read_text(errors='replace')[-2000:]}")


def plain(log):
    """The log without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))


@contextlib.contextmanager
def rtsp(folder):
    """Runs the tests' camera, in 1080p25. Yields its address, and a function that kills it for three seconds."""
    file = clip(folder / "camera.h264", BUSY, 8, 1, ["-x264-params", "aud=1", "-f", "h264"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Debian's own Python has the bindings of Debian's GStreamer.
    words = ["/usr/bin/python3", str(ROOT / "tests/it/common/rtsp.py"), str(port), "h264", "25", str(file)]
    camera = []

    def appear():
        camera.append(subprocess.Popen(words, stdout=subprocess.PIPE))
        if camera[-1].stdout.readline() != b"ready\n":
            sys.exit("the RTSP camera needs gir1.2-gst-rtsp-server-1.0 (tools/setup.sh)")

    def vanish():
        camera[-1].kill()
        camera[-1].wait()

    def restart():
        vanish()
        time.sleep(3)
        appear()

    appear()
    try:
        yield f"rtsp://127.0.0.1:{port}/stream", restart
    finally:
        vanish()


if __name__ == "__main__":
    main()
