#!/usr/bin/env python3
"""Restarts real brokers under a running service, with a subscriber that has a persistent session: `tools/brokers.py [NAME...]`.

Each broker runs with each version of MQTT that it has, and is stopped and killed. While it restarts, the service raises alerts, and
the subscriber is away. In the end every alert must have reached the broker, and those that the subscriber missed are counted: a
broker that forgets its sessions loses them, which the service cannot prevent. `stakeout doctor` must report such a broker.

The results are a table. Exit code 1 means: an alert was not delivered to the broker, alerts of a topic changed their order, or doctor
said nothing about a broker that forgot its session.

It needs the program (`cargo build`; STAKEOUT names another one), Mosquitto, and for the others: Debian's packages rabbitmq-server
and redis-server, npm (aedes is installed below target/), cargo (rumqttd is built below target/). What is missing is skipped.
`--debian SUITE` also runs the RabbitMQ of another Debian release, in a container without an engine (root, debootstrap, systemd-nspawn).
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from servers import PATIENCE, ROOT, answers, free_port, stop

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = Path(os.environ.get("STAKEOUT", TARGET / "debug/stakeout"))
SAMPLES = ROOT / "models/bundled/samples"
AEDES, AEDES_REDIS, RUMQTTD = "1.2.0", "11.2.2", "0.20.0"
# A subscriber that has received nothing for this time has received everything. If the broker has kept its session, only a hang
# reaches the time; if not, it is waited for.
QUIET = {True: PATIENCE / 2, False: 15}
RESTARTS = ["stopped", "killed"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"brokers: {', '.join(BROKERS)}")
    parser.add_argument("--restart", choices=RESTARTS, action="append", help="only this kind of restart")
    parser.add_argument("--debian", metavar="SUITE", help="also run the RabbitMQ of this Debian release")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BROKERS)
    if unknown:
        parser.error(f"there is no broker {', '.join(unknown)}")
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} does not exist: run `cargo build`, or set STAKEOUT to the program")
    with contextlib.ExitStack() as cleanup:
        brokers = [(name, BROKERS[name]) for name in arguments.names or BROKERS]
        if arguments.debian:
            brokers.append((f"rabbitmq in {arguments.debian}", rabbitmq_of(arguments.debian, cleanup)))
        sys.exit(run(brokers, arguments.restart or RESTARTS))


def run(brokers, restarts):
    """Prints a row for each trial, and then the table. Returns the exit code."""
    rows, failed, skipped = [], [], []
    for name, broker in brokers:
        with tempfile.TemporaryDirectory(prefix="brokers-") as folder:
            missing = broker(Path(folder)).missing()
        if missing:
            skipped.append(f"{name}: {missing}")
            print(f"skipped: {name}: {missing}", flush=True)
            continue
        for version in ("5", "3.1.1"):
            for restart in restarts:
                row = trial(broker, version, restart)
                rows.append(row)
                print("  ".join(row.cells()), flush=True)
                failed += [f"{row.broker}, MQTT {version}, {restart}: {fault}" for fault in row.faults]
    print(f"\n{table(rows)}")
    for line in skipped:
        print(f"skipped: {line}")
    for line in failed:
        print(f"FAILED: {line}")
    return 1 if failed or not rows else 0


# --- one trial


class Row:
    def __init__(self, broker, version, restart):
        self.broker, self.version, self.restart, self.faults = broker, version, restart, []
        self.raised = self.acknowledged = self.received = self.repeated = 0
        self.session = self.doctor = "-"

    def cells(self):
        if self.session == "refused":
            return [self.broker, self.version, self.restart, *["-"] * 4, "does not speak this version", "-"]
        counts = [str(count) for count in (self.raised, self.acknowledged, self.received, self.repeated)]
        return [self.broker, self.version, self.restart, *counts, self.session, self.doctor]


HEAD = ["broker", "MQTT", "was", "raised", "acknowledged", "received", "repeated", "session", "doctor"]


def table(rows):
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def trial(kind, version, restart):
    """Runs one broker and the service, and restarts the broker once."""
    with tempfile.TemporaryDirectory(prefix="brokers-") as folder:
        broker = kind(Path(folder) / "broker")
        broker.folder.mkdir()
        row = Row(broker.title(), version, restart)
        service = None
        try:
            broker.start()
            if not speaks(broker, version):
                row.session = "refused"
                return row
            service = Service(Path(folder), broker.port(version), version)
            carry_out(broker, service, row)
        except Stuck as stuck:
            row.faults.append(str(stuck))
        finally:
            if service:
                service.stop()
            broker.stop(kill=True)
            broker.clean()
        if row.faults:
            print(f"log of the service:\n{service.log()[-4000:] if service else ''}\nlog of the broker:\n{broker.log()[-2000:]}", flush=True)
        return row


def carry_out(broker, service, row):
    port = broker.port(row.version)
    service.doctor()
    subscriber = Subscriber(port, row.version)
    subscriber.connect()
    service.raise_alerts(3)
    wait("the subscriber has the first alerts", lambda: len(subscriber.ids()) >= len(service.raised()))
    subscriber.vanish()
    service.raise_alerts(3)
    wait("the broker has acknowledged the alerts", service.is_delivered)
    broker.stop(kill=row.restart == "killed")
    service.raise_alerts(3)
    broker.start()
    wait("the service has connected again and delivered", service.is_delivered)
    row.doctor = service.doctor()
    kept = subscriber.connect()
    service.raise_alerts(3)
    wait("the broker has acknowledged the last alerts", service.is_delivered)
    subscriber.settle(lambda: len(set(subscriber.ids())) >= len(service.raised()), QUIET[kept])

    raised, received = service.raised(), subscriber.ids()
    row.raised, row.acknowledged = len(raised), service.acknowledged()
    row.received, row.repeated = len(set(received)), len(received) - len(set(received))
    missed = row.raised - row.received
    row.session = f"{'kept' if kept else 'forgotten'}, {missed} alerts missed"
    if row.acknowledged < row.raised:
        row.faults.append(f"{row.raised - row.acknowledged} alerts were not acknowledged by the broker")
    if unordered(raised, service.published()):
        row.faults.append("the alerts of a topic were published in another order")
    elif unordered(raised, received):
        row.session += ", the broker changes their order"
    if missed and not kept and row.doctor != "warns":
        row.faults.append("doctor does not report that the broker forgets its sessions")
    if kept and row.doctor == "warns":
        row.faults.append("doctor reports a broker that has kept the session")


def unordered(raised, received):
    """Whether the first copies of the alerts of one topic are in another order than they were raised."""
    order = {alert: number for number, (alert, _) in enumerate(raised)}
    topics = dict(raised)
    newest = {}
    for alert in dict.fromkeys(received):
        topic = topics.get(alert)
        if newest.get(topic, -1) > order.get(alert, -1):
            return True
        newest[topic] = order.get(alert, -1)
    return False


class Stuck(Exception):
    pass


def wait(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise Stuck(f"timed out waiting until {what}")
        time.sleep(0.1)


# --- the service


class Service:
    """`stakeout run` with the bundled model. A command receives every alert, too: that is what was raised, whatever the broker does."""

    def __init__(self, folder, port, version):
        self.folder, self.number, self.pictures = folder, 0, ["red-car.jpg", "blue-umbrella.jpg", "green-tree.jpg"]
        for name in ("inbox", "state"):
            (folder / name).mkdir()
        self.metrics = free_port()
        (folder / "stakeout.yaml").write_text(f"""
mqtt: {{ url: "mqtt://127.0.0.1:{port}", version: {version}, prefix: trial }}
state_dir: state
listen: 127.0.0.1:{self.metrics}
command: {{ run: [/bin/sh, -c, 'cat >> "$1"; echo >> "$1"', sh, {folder}/raised] }}
label_sets:
  objects:
    template: a photo of {{}}
    background: [an empty scene, a plain background, something else]
    labels: {{ red car: 0.75, green tree: 0.75, blue umbrella: 0.75 }}
sources:
  inbox: {{ folder: inbox, watch: [objects] }}
""")
        self.output = open(folder / "log", "wb")
        command = [PROGRAM, "run", "--config", folder / "stakeout.yaml"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.output)
        wait("the service is ready", lambda: self.get("/readyz") is not None)
        wait("the service has connected", lambda: "connected to the broker" in self.log())

    def get(self, path):
        if self.process.poll() is not None:
            raise Stuck(f"the service ended with {self.process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}{path}", timeout=PATIENCE) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def raise_alerts(self, count):
        """Puts pictures into the folder, and waits until each has raised its alert. The picture before it clears."""
        for _ in range(count):
            self.number += 1
            before = len(self.raised())
            picture = SAMPLES / self.pictures[self.number % len(self.pictures)]
            shutil.copy(picture, self.folder / "upload")
            os.rename(self.folder / "upload", self.folder / "inbox" / f"{self.number:03}.jpg")
            wait("an alert is raised", lambda: len(self.raised()) > before)

    def raised(self):
        """The identifiers and topics of the alerts, in their order."""
        file = self.folder / "raised"
        alerts = [json.loads(line) for line in file.read_text().splitlines() if line.strip()] if file.exists() else []
        return [(alert["id"], (alert["source"], alert["label"])) for alert in alerts]

    def acknowledged(self):
        lines = (self.get("/metrics") or "").splitlines()
        values = [line.split()[-1] for line in lines if line.startswith("stakeout_alerts_published_total")]
        return int(float(values[0])) if values else 0

    def published(self):
        """The identifiers of the alerts in the order in which the broker acknowledged them."""
        return re.findall(r"alert published: .*\bid=([0-9a-f-]{36})", self.log())

    def is_delivered(self):
        waiting = [line for line in (self.get("/metrics") or "").splitlines() if line.startswith("stakeout_outbox_alerts{")]
        return bool(waiting) and all(line.split()[-1] in ("0", "0.0") for line in waiting)

    def doctor(self):
        """What doctor says about the sessions of the broker."""
        command = [PROGRAM, "doctor", "--format", "json", "--config", self.folder / "stakeout.yaml"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE)
        findings = [json.loads(line) for line in done.stdout.decode().splitlines()]
        found = [finding for finding in findings if finding["check"] == "broker sessions"]
        if not found:
            return "silent"
        return {"ok": "ok", "note": "warns"}.get(found[0]["state"], found[0]["state"])

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def stop(self):
        stop(self.process)
        self.output.close()


# --- the subscriber


def number(value):
    """A variable byte integer."""
    encoded = b""
    while True:
        value, low = divmod(value, 128)
        encoded += bytes([low | (128 if value else 0)])
        if not value:
            return encoded


def text(value):
    return struct.pack(">H", len(value.encode())) + value.encode()


def packet(kind, body):
    return bytes([kind]) + number(len(body)) + body


def connect_packet(version, client, clean=False):
    five = version == "5"
    # Seconds for which the broker keeps the session after a disconnect.
    properties = number(5) + b"\x11" + struct.pack(">I", 24 * 3600) if five else b""
    return packet(0x10, text("MQTT") + bytes([5 if five else 4, 2 if clean else 0]) + struct.pack(">H", 3600) + properties + text(client))


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def packet(self):
        kind, length, shift = self.exactly(1)[0], 0, 0
        while True:
            byte = self.exactly(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, self.exactly(length)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def speaks(broker, version):
    """Whether the broker accepts a client of this version."""
    try:
        connection = Connection(broker.port(version))
        connection.send(connect_packet(version, "version", clean=True))
        kind, body = connection.packet()
        connection.close()
        return kind == 0x20 and body[1] == 0
    except OSError:
        return False


class Subscriber:
    """A client with a session that the broker keeps. It acknowledges what it receives, and subscribes again when it connects."""

    def __init__(self, port, version):
        self.port, self.version, self.received, self.last = port, version, [], time.monotonic()
        self.lock, self.connection, self.thread = threading.Lock(), None, None

    def connect(self):
        """Returns whether the broker still had the session."""
        connection = Connection(self.port)
        connection.send(connect_packet(self.version, "trial-subscriber"))
        kind, body = connection.packet()
        if kind != 0x20 or body[1] != 0:
            raise Stuck(f"the broker refuses the subscriber: {body[1]}")
        present, subscribed = bool(body[0] & 1), threading.Event()
        properties = number(0) if self.version == "5" else b""
        connection.send(packet(0x82, struct.pack(">H", 1) + properties + text("trial/+/+/+/alert") + b"\x01"))
        self.connection, self.last = connection, time.monotonic()
        self.thread = threading.Thread(target=self.read, args=(connection, subscribed), daemon=True)
        self.thread.start()
        if not subscribed.wait(PATIENCE):
            raise Stuck("the broker does not confirm a subscription")
        return present

    def read(self, connection, subscribed):
        try:
            while True:
                kind, body = connection.packet()
                if kind == 0x90:
                    subscribed.set()
                elif kind & 0xF0 == 0x30:
                    self.message(connection, kind, body)
        except OSError:
            pass

    def message(self, connection, kind, body):
        at = 2 + struct.unpack(">H", body[:2])[0]
        qos = kind >> 1 & 3
        identifier, at = body[at : at + 2], at + (2 if qos else 0)
        if self.version == "5":
            length, shift = 0, 0
            while True:
                byte = body[at]
                length |= (byte & 127) << shift
                shift, at = shift + 7, at + 1
                if byte < 128:
                    break
            at += length
        with self.lock:
            self.received.append(json.loads(body[at:])["id"])
            self.last = time.monotonic()
        if qos:
            connection.send(packet(0x40, identifier))

    def ids(self):
        with self.lock:
            return list(self.received)

    def vanish(self):
        """The connection breaks, without a word to the broker."""
        self.connection.close()
        self.thread.join(PATIENCE)

    def settle(self, complete, quiet):
        """Waits until everything has arrived, or nothing has arrived for `quiet` seconds."""
        wait("the subscriber has what it will get", lambda: complete() or time.monotonic() - self.last > quiet)


# --- the brokers


def descendants(process):
    """The processes that a process has started, and those that they have."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
            except (OSError, IndexError):
                pass
    found, waiting = [], [process]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


class Broker:
    """A broker on free ports. Files that it must keep are in `folder`."""

    def __init__(self, folder):
        self.folder, self.process, self.ports = folder, None, (free_port(), free_port())

    def title(self):
        return self.name

    def port(self, version):
        return self.ports[0]

    def missing(self):
        """Why it cannot run here."""

    def start(self):
        self.output = open(self.folder / "log", "ab")
        command, environment = self.command()
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, cwd=self.folder, start_new_session=True
        )
        wait(f"{self.name} listens", self.listens)

    def listens(self):
        if self.process.poll() is not None:
            raise Stuck(f"{self.name} ended with {self.process.returncode}: {self.log()[-2000:]}")
        return answers(self.port("3.1.1"))

    def own_process(self):
        """The process of the broker itself, if another program has started it."""
        return self.process.pid

    def stop(self, kill):
        if self.process is None:
            return
        try:
            os.kill(self.own_process(), signal.SIGKILL if kill else signal.SIGTERM)
        except ProcessLookupError:
            pass
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        self.output.close()

    def clean(self):
        """Ends what the broker has left running."""

    def log(self):
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""


class Mosquitto(Broker):
    name, settings = "Mosquitto", "persistence false"

    def program(self):
        return shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")

    def missing(self):
        return None if self.program() else "mosquitto is not installed"

    def title(self):
        shown = subprocess.run([self.program(), "-h"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
        return f"Mosquitto {shown.split()[2]}, `{self.settings.splitlines()[0]}`"

    def command(self):
        config = self.folder / "mosquitto.conf"
        settings = self.settings.replace("{folder}", str(self.folder))
        config.write_text(f"user root\nallow_anonymous true\nlistener {self.ports[0]} 127.0.0.1\n{settings}\n")
        return [self.program(), "-c", config], {}


class StoringMosquitto(Mosquitto):
    settings = "persistence true\npersistence_location {folder}/"


class SavingMosquitto(StoringMosquitto):
    """It writes its database after every change, and not only when it is stopped."""

    settings = StoringMosquitto.settings + "\nautosave_on_changes true\nautosave_interval 1"

    def title(self):
        return super().title() + " and `autosave_on_changes true`"


class RabbitMq(Broker):
    name = "RabbitMQ"

    def __init__(self, folder, root=None):
        super().__init__(folder)
        self.root, self.other = root, [free_port() for _ in range(3)]

    def package(self):
        query = ["dpkg-query", *([f"--admindir={self.root}/var/lib/dpkg"] if self.root else []), "-f", "${Version}", "-W", "rabbitmq-server"]
        return subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()

    def missing(self):
        if not self.package():
            return "rabbitmq-server is not installed"
        return "another root needs root's rights and systemd-nspawn" if self.root and (os.geteuid() or not shutil.which("systemd-nspawn")) else None

    def title(self):
        return f"RabbitMQ {self.package().split('-')[0]}"

    def command(self):
        inside = Path("/trial") if self.root else self.folder
        config = self.folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.other[0]}\nmqtt.listeners.tcp.1 = 127.0.0.1:{self.ports[0]}\nmqtt.allow_anonymous = true\n"
            + ("anonymous_login_user = guest\nanonymous_login_pass = guest\n" if self.package() >= "4" else "")
        )
        (self.folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        environment = {
            "HOME": inside,
            "RABBITMQ_NODENAME": "trial@localhost",
            "RABBITMQ_MNESIA_BASE": inside / "data",
            "RABBITMQ_LOG_BASE": inside / "logs",
            "RABBITMQ_CONFIG_FILE": inside / "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": inside / "none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": inside / "plugins",
            "RABBITMQ_DIST_PORT": self.other[1],
            "ERL_EPMD_PORT": self.other[2],
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "LC_ALL": "C.UTF-8",
        }
        environment = {key: str(value) for key, value in environment.items()}
        program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        if not self.root:
            return [program], environment
        nspawn = ["systemd-nspawn", "-q", "-D", self.root, "--register=no", "--keep-unit", "--console=pipe", "--as-pid2", f"--bind={self.folder}:/trial"]
        nspawn += [f"--setenv={key}={value}" for key, value in environment.items()]
        return [*nspawn, program], {}

    def own_process(self):
        for process in [self.process.pid, *descendants(self.process.pid)]:
            try:
                if Path(f"/proc/{process}/comm").read_text().strip() == "beam.smp":
                    return process
            except OSError:
                pass
        return self.process.pid

    def clean(self):
        # In another root epmd ends with its container.
        if not self.root:
            environment = os.environ | {"ERL_EPMD_PORT": str(self.other[2])}
            subprocess.run(["epmd", "-kill"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rabbitmq_of(suite, cleanup):
    """The RabbitMQ of another Debian release, which is installed into a folder of its own."""
    missing = [name for name in ("debootstrap", "systemd-nspawn") if not shutil.which(name)]
    if os.geteuid() or missing:
        return lambda folder: Missing(folder, "another Debian release needs root, debootstrap and systemd-nspawn")
    root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp", prefix="brokers-"))) / "root"
    subprocess.run([ROOT / "tools/clean_debian.sh", root, suite], check=True)
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    script = "apt-get update -qq && apt-get install -y -qq --no-install-recommends rabbitmq-server"
    nspawn = ["systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--resolv-conf=replace-host", "--console=pipe", "--as-pid2"]
    command = [*nspawn, "--setenv=DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-ec", script]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        return lambda folder: Missing(folder, f"it cannot be installed: {done.stdout.decode(errors='replace')[-500:]}")
    return lambda folder: RabbitMq(folder, root)


class Missing(Broker):
    """A broker that cannot run here."""

    def __init__(self, folder, why):
        super().__init__(folder)
        self.why = why

    def missing(self):
        return self.why


class Aedes(Broker):
    name = "aedes"
    packages = TARGET / "brokers/npm"

    def missing(self):
        if not shutil.which("npm"):
            return "npm is not installed"
        if (self.packages / "node_modules/aedes").is_dir():
            return None
        self.packages.mkdir(parents=True, exist_ok=True)
        (self.packages / "package.json").write_text("{}\n")
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", ".", f"aedes@{AEDES}", f"aedes-persistence-redis@{AEDES_REDIS}"]
        done = subprocess.run(command, cwd=self.packages, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return None if done.returncode == 0 else f"npm cannot install it: {done.stdout.decode()[-500:]}"

    def title(self):
        return f"aedes {AEDES}, in memory"

    def command(self):
        return ["node", ROOT / "tools/brokers/aedes.mjs", self.packages, str(self.ports[0])], {}


class StoringAedes(Aedes):
    """With Redis, which is not restarted."""

    redis = None

    def missing(self):
        return super().missing() or (None if shutil.which("redis-server") else "redis-server is not installed")

    def title(self):
        return f"aedes {AEDES}, in Redis"

    def start(self):
        if not self.redis:
            command = ["redis-server", "--port", str(self.ports[1]), "--bind", "127.0.0.1", "--dir", self.folder, "--save", ""]
            self.redis = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait("Redis listens", lambda: answers(self.ports[1]))
        super().start()

    def command(self):
        command, environment = super().command()
        return [*command, str(self.ports[1])], environment

    def clean(self):
        if self.redis:
            self.redis.kill()
            self.redis.wait()


class Rumqttd(Broker):
    name = "rumqttd"
    program = TARGET / "brokers/cargo/bin/rumqttd"

    def missing(self):
        if self.program.exists():
            return None
        if not shutil.which("cargo"):
            return "cargo is not installed"
        # Without its own lock file: that names a crate which newer compilers reject.
        command = ["cargo", "install", "--quiet", "--debug", "rumqttd", "--version", RUMQTTD, "--root", self.program.parent.parent]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return None if done.returncode == 0 else f"cargo cannot build it: {done.stdout.decode()[-500:]}"

    def title(self):
        return f"rumqttd {RUMQTTD}"

    def port(self, version):
        return self.ports[0] if version == "3.1.1" else self.ports[1]

    def command(self):
        config = self.folder / "rumqttd.toml"
        server = """
[{key}.1]
name = "{key}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
  [{key}.1.connections]
  connection_timeout_ms = 60000
  max_payload_size = 1048576
  max_inflight_count = 100
  dynamic_filters = true
"""
        head = "id = 0\n[router]\nid = 0\nmax_connections = 100\nmax_outgoing_packet_count = 200\nmax_segment_size = 104857600\nmax_segment_count = 10\n"
        servers = [server.format(key=key, port=port) for key, port in zip(("v4", "v5"), self.ports)]
        config.write_text(head + "".join(servers))
        return [self.program, "-q", "-c", config], {}


BROKERS = {
    "mosquitto": Mosquitto,
    "mosquitto-persistent": StoringMosquitto,
    "mosquitto-autosave": SavingMosquitto,
    "rabbitmq": RabbitMq,
    "aedes": Aedes,
    "aedes-redis": StoringAedes,
    "rumqttd": Rumqttd,
}

if __name__ == "__main__":
    main()
