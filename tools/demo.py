#!/usr/bin/env python3
"""`make demo`: copies sample pictures into a watched folder and prints the alerts that a real subscriber receives.

    tools/demo.py [PROGRAM]          PROGRAM is the built stakeout, target/demo/stakeout if it is not given

It runs Mosquitto on a free port of this machine, `stakeout run` with the bundled model and config/demo.yaml, and
`mosquitto_sub`. All files are in one temporary folder, which is deleted at the end, also after Ctrl-C.
The exit code is 0 only if every picture raised exactly the expected alert.
"""

import contextlib
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "models/bundled/samples"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = TARGET / "demo/stakeout"
PATIENCE = 10.0  # seconds to wait for any single step


def main():
    program = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else PROGRAM
    samples = json.loads((SAMPLES / "samples.json").read_text())
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stakeout-demo-")))
        port = start_broker(stack, folder)
        messages = subscribe(stack, port)
        inbox = start_stakeout(stack, folder, port, messages, program)
        wrong = sum(not show(sample, inbox, folder / "seen", messages) for sample in samples)
    raised = sum(sample["alert"] is not None for sample in samples)
    if wrong:
        sys.exit(f"\n{wrong} of {len(samples)} pictures did not raise the expected alert.")
    print(f"\n{raised} pictures raised their alert, {len(samples) - raised} correctly raised none.")
    print("To watch for something else: copy config/demo.yaml, add a line of text, and run `stakeout run --config FILE`.")


def show(sample, inbox, seen, messages):
    """Copies one picture into the folder and prints the alert that it raised. Returns whether it was the expected one."""
    name = sample["file"]
    dropped = drop(SAMPLES / name, inbox)

    # The service moves a picture away after it was scored and its alerts are on disk. After that no alert can follow.
    wait_until(lambda: (seen / name).exists(), f"{name} to be scored")
    alert = next_alert(messages, time.monotonic() + (PATIENCE if sample["alert"] else 0.4))
    expected, got = sample["alert"], alert and alert["payload"]["label"]

    if alert is None:
        print(f"\n{name:<28} no alert" + (", as expected" if expected is None else ""))
    else:
        milliseconds = (alert["received"] - dropped) * 1000
        print(f"\n{name:<28} ALERT {got} {alert['payload']['score']:.2f}, received after {milliseconds:.0f} ms")
        print(f"  {alert['topic']}\n  {alert['text']}")
    if expected != got:
        print(f"  WRONG: this picture should raise {expected or 'no alert'}")
    return expected == got


def drop(picture, inbox):
    """Copies a picture into the folder; returns when. It gets its name only when it is complete, as an upload should."""
    hidden = inbox / f".{picture.name}"
    shutil.copyfile(picture, hidden)
    dropped = time.monotonic()
    hidden.rename(inbox / picture.name)
    return dropped


def next_alert(messages, deadline):
    """The next raised alert, or None when the deadline passes first."""
    while True:
        try:
            message = messages.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        if message["topic"].endswith("/alert") and message["payload"]["state"] == "raised":
            return message


def start_broker(stack, folder):
    """Starts a Mosquitto that accepts connections from this machine only; returns its port."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_type error\nlog_dest stderr\n")
    broker = start(stack, [program, "-c", configuration])
    wait_until(lambda: accepts(port), "Mosquitto to listen", broker)
    return port


def subscribe(stack, port):
    """Starts a subscriber; returns a queue of everything that it receives below the demo's prefix."""
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-t", "demo/#", "-T", "demo/+/snapshot", "-F", "%t %p"]
    subscriber = start(stack, command, stdout=subprocess.PIPE, text=True)
    messages = queue.Queue()

    def read():
        for line in subscriber.stdout:
            topic, text = line.rstrip("\n").split(" ", 1)
            payload = json.loads(text) if text.startswith("{") else text
            messages.put({"topic": topic, "text": text, "payload": payload, "received": time.monotonic()})

    threading.Thread(target=read, daemon=True).start()
    return messages


def start_stakeout(stack, folder, port, messages, program):
    """Starts the service; returns the watched folder after the service has published that the source is online."""
    inbox = folder / "inbox"
    inbox.mkdir()
    configuration = folder / "stakeout.yaml"
    text = (ROOT / "config/demo.yaml").read_text()
    configuration.write_text(text.replace("localhost:1883", f"127.0.0.1:{port}"))
    environment = dict(os.environ, STATE_DIRECTORY=str(folder / "state"), RUST_LOG=os.environ.get("RUST_LOG", "warn"))
    print("Starting Mosquitto and `stakeout run --config config/demo.yaml`, which contains:\n")
    print("".join(f"    {line}\n" for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), end="")
    service = start(stack, [program, "run", "--config", configuration], env=environment)

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and service.poll() is None:
        with contextlib.suppress(queue.Empty):
            message = messages.get(timeout=0.1)
            if (message["topic"], message["text"]) == ("demo/inbox/status", "online"):
                return inbox
    sys.exit("stakeout did not start: the reason is above")


def start(stack, command, **options):
    """Starts a program that is stopped when the demo ends, also after an error."""
    # In a session of its own: Ctrl-C reaches only this script, which then stops the programs one after the other.
    program = subprocess.Popen([str(word) for word in command], start_new_session=True, **options)

    def stop():
        program.terminate()
        try:
            program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()

    stack.callback(stop)
    return program


def accepts(port):
    """Whether this port accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(condition, what, program=None):
    """Returns when `condition` holds; ends the demo when it does not within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline or (program and program.poll() is not None):
            sys.exit(f"waited {PATIENCE:.0f} s for {what}, without success")
        time.sleep(0.01)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
