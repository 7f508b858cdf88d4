"""Real servers for the scripts in tools/: free ports, processes that end with the script, and waits that only a hang reaches."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 120  # seconds, which only a hang reaches


def skip(why):
    """Ends the script without a failure, unless everything is required (tools/skip.sh)."""
    if os.environ.get("STAKEOUT_REQUIRE_ALL"):
        sys.exit(f"FAILED: {why}")
    print(f"skipped: {why}")
    if listed := os.environ.get("STAKEOUT_SKIPPED"):
        with open(listed, "a") as file:
            file.write(f"{pathlib.Path(sys.argv[0]).name}: {why}\n")
    sys.exit(0)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_broker(stack, folder, port, log="mosquitto.log"):
    """Starts Mosquitto without persistence; returns its process."""
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process, log = start(stack, [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", "mosquitto.conf"], folder, log)
    wait(lambda: answers(port), "Mosquitto starts", log)
    return process


def answers(port):
    """Whether this port of this machine accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def start(stack, command, folder, log, **options):
    """Starts a process that ends with `stack`; returns it and the file of its output, to which it appends."""
    path = folder / log
    process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=open(path, "a"), stderr=subprocess.STDOUT, **options)
    stack.callback(stop, process)
    return process, path


def stop(process):
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait(done, what, *logs):
    """Waits until `done` gives something that is true, and returns it."""
    begin = time.time()
    while not (result := done()):
        if time.time() - begin > PATIENCE:
            fail(f"{what}: not within {PATIENCE} s", *logs)
        time.sleep(0.2)
    return result


def fail(why, *logs):
    for log in logs:
        print(f"--- {log.name}\n{log.read_text()}")
    sys.exit(f"FAILED: {why}")
