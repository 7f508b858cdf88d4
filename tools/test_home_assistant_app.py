#!/usr/bin/env python3
"""Checks the app of Home Assistant: `tools/test_home_assistant_app.py [PROGRAM]`.

1. Every key of packaging/home-assistant, against what the supervisor accepts. The supervisor drops keys that it does not know without a
   word, so here they are errors. The tables below are its schema as data: `_SCHEMA_APP_CONFIG`, `SCHEMA_APP_TRANSLATIONS` and
   `SCHEMA_REPOSITORY_CONFIG` in supervisor/apps/validate.py and supervisor/store/validate.py of github.com/home-assistant/supervisor, commit
   090ef31ec024952c2469ed5a7c9f3ce8c1a5499e of 2026-08-21.
2. That its files belong together: ports, version, options and their translations, pictures.
3. The script that starts it, with a stand-in for the supervisor.
4. With PROGRAM: that `stakeout check` accepts the first configuration.
"""

import http.server
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE / "packaging/home-assistant"
APP = REPOSITORY / "stakeout"
TOKEN = "0123456789abcdef" * 4
DEFAULT_URL, FIRST = "http://supervisor", "/usr/share/stakeout/home-assistant.yaml"


# --- What the supervisor accepts ------------------------------------------------------------------------------------------------


def text(value):
    return isinstance(value, str)


def switch(value):
    return isinstance(value, bool)


def number(least, most):
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def like(pattern):
    return lambda value: isinstance(value, str) and re.search(pattern, value) is not None


def word(*words):
    return lambda value: value in words


def each(check):
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def keys(table, required=()):
    """A mapping with these keys and no others."""
    return lambda value: isinstance(value, dict) and not faults(value, table, required)


def names(check):
    """A mapping of any texts."""
    return lambda value: isinstance(value, dict) and all(isinstance(key, str) and check(item) for key, item in value.items())


def option(value):
    """An element of `schema`: a form, a list of one form or mapping, or a mapping."""
    if isinstance(value, list):
        return all(option(item) and not isinstance(item, list) for item in value)
    return names(option)(value) if isinstance(value, dict) else like(OPTION)(value)


URL = like(r"^https?://[^/\s]+")
VERSION = like(r"^[0-9A-Za-z][0-9A-Za-z.+-]*$")
IMAGE = like(r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9{][a-z0-9.\-_{}]*)+$")
PORTS = r"^\d+(/(tcp|udp))?$"
OPTION = (
    r"^(?:|bool|email|url|port|device(?:\(subsystem=[a-z]+\))?|str(?:\(\d*,\d*\))?|password(?:\(\d*,\d*\))?|int(?:\(-?\d*,-?\d*\))?"
    r"|float(?:\(-?\d*\.?\d*,-?\d*\.?\d*\))?|match\(.*\)|list\(.+\))\??$"
)
MAPPINGS = ("data", "ssl", "local_apps", "backup", "share", "media", "homeassistant_config", "all_app_configs", "app_config",
            # Names that are called legacy since 2026.07. `config` and `addons` are left out: they give more than an app needs.
            "addon_config", "all_addon_configs")
MACHINE = (r"^!?(?:|intel-nuc|khadas-vim3|generic-aarch64|generic-x86-64|odroid-c2|odroid-c4|odroid-m1|odroid-n2|qemuarm-64|qemux86-64"
           r"|raspberrypi3-64|raspberrypi4-64|raspberrypi5-64|yellow|green)$")

# Keys that are deprecated or have no effect (`advanced`, `codenotary`, `legacy`) are left out: they are errors here.
CONFIG = {
    "name": text,
    "version": VERSION,
    "slug": like(r"^[-_.A-Za-z0-9]+$"),
    "description": text,
    "arch": each(word("aarch64", "amd64")),
    "machine": each(like(MACHINE)),
    "url": URL,
    "startup": word("initialize", "system", "services", "application", "once"),
    "boot": word("auto", "manual", "manual_only"),
    "init": switch,
    "stage": word("stable", "experimental", "deprecated"),
    "ports": lambda value: isinstance(value, dict) and all(re.match(PORTS, key) and (port is None or number(1, 65535)(port)) for key, port in value.items()),
    "ports_description": lambda value: names(text)(value) and all(re.match(PORTS, key) for key in value),
    "watchdog": like(r"^(?:https?|\[PROTO:\w+\]|tcp):\/\/\[HOST\]:(\[PORT:\d+\]|\d+).*$"),
    "webui": like(r"^(?:https?|\[PROTO:\w+\]):\/\/\[HOST\]:\[PORT:\d+\].*$"),
    "ingress": switch,
    "ingress_port": number(0, 65535),
    "ingress_entry": text,
    "ingress_stream": switch,
    "panel_icon": like(r"^mdi:[a-z0-9-]+$"),
    "panel_title": text,
    "panel_admin": switch,
    "homeassistant": VERSION,
    "host_network": switch,
    "host_pid": switch,
    "host_ipc": switch,
    "host_uts": switch,
    "host_dbus": switch,
    "devices": each(text),
    "udev": switch,
    "tmpfs": switch,
    "map": each(keys({"type": word(*MAPPINGS), "read_only": switch, "path": text}, ["type"])),
    "environment": names(text),
    "privileged": each(text),
    "apparmor": switch,
    "full_access": switch,
    "audio": switch,
    "video": switch,
    "gpio": switch,
    "usb": switch,
    "uart": switch,
    "devicetree": switch,
    "kernel_modules": switch,
    "realtime": switch,
    "hassio_api": switch,
    "hassio_role": word("default", "homeassistant", "backup", "manager", "admin"),
    "homeassistant_api": switch,
    "stdin": switch,
    "docker_api": switch,
    "auth_api": switch,
    "services": each(like(r"^(mqtt|mysql):(provide|want|need)$")),
    "discovery": each(text),
    "backup": word("hot", "cold"),
    "backup_exclude": each(text),
    "backup_pre": text,
    "backup_post": text,
    "options": names(lambda _: True),
    "schema": names(option),
    "image": IMAGE,
    "ulimits": names(lambda value: number(0, 2**63)(value) or keys({"soft": number(0, 2**63), "hard": number(0, 2**63)}, ["soft", "hard"])(value)),
    "timeout": number(10, 300),
    "journald": switch,
    "breaking_versions": each(VERSION),
}
REQUIRED = ["name", "version", "slug", "description", "arch"]
REPOSITORY_KEYS = {"name": text, "url": URL, "maintainer": text}


def translated(value):
    return keys({"name": text, "description": text, "fields": names(translated)}, ["name"])(value)


TRANSLATION = {"configuration": names(translated), "network": names(text)}


def faults(value, table, required=()):
    """What is wrong with a mapping."""
    found = [f"{key}: the supervisor has no such key" for key in value if key not in table]
    found += [f"{key} is missing" for key in required if key not in value]
    return found + [f"{key}: {item!r} is not what the supervisor accepts" for key, item in value.items() if key in table and not table[key](item)]


# --- The files -------------------------------------------------------------------------------------------------------------------


def hold(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def read(path):
    return yaml.safe_load(path.read_text())


def size(path):
    """Width and height of a PNG."""
    head = path.read_bytes()[:24]
    hold(head[:8] == b"\x89PNG\r\n\x1a\n", f"{path.name} is no PNG")
    return struct.unpack(">II", head[16:24])


def check_schema():
    config = read(APP / "config.yaml")
    found = faults(config, CONFIG, REQUIRED)
    found += [f"repository.yaml: {fault}" for fault in faults(read(REPOSITORY / "repository.yaml"), REPOSITORY_KEYS, ["name"])]
    languages = sorted((APP / "translations").glob("*.yaml"))
    for path in languages:
        translation = read(path)
        found += [f"{path.name}: {fault}" for fault in faults(translation, TRANSLATION)]
        if set(translation["configuration"]) != set(config["schema"]):
            found.append(f"{path.name} does not translate exactly the options")
    hold(not found, "\n".join(found))
    hold("en" in {path.stem for path in languages}, "there is no English translation")
    print(f"app: {len(config)} keys and {len(languages)} translations are accepted by the supervisor's schema")
    return config


def check_mistakes_are_found():
    """The check above finds what the supervisor refuses or drops."""
    right = read(APP / "config.yaml")
    for change, part in [
        ({"ingres": True}, "no such key"),
        ({"name": None}, "name"),
        ({"arch": ["armv7"]}, "arch"),
        ({"ingress_port": "8099"}, "ingress_port"),
        ({"map": [{"type": "addon_configs"}]}, "map"),
        ({"map": ["media:rw"]}, "map"),
        ({"map": [{"type": "media", "readonly": True}]}, "map"),
        ({"services": ["mqtt"]}, "services"),
        ({"watchdog": "http://localhost:8099/healthz"}, "watchdog"),
        ({"schema": {"log": "choice(a)"}}, "schema"),
        ({"timeout": 5}, "timeout"),
        ({"panel_icon": "cctv"}, "panel_icon"),
        ({"startup": "after"}, "startup"),
    ]:
        found = faults(right | change, CONFIG, REQUIRED)
        hold(len(found) == 1 and part in found[0], f"{change}: {found}")


def check_together(config):
    manifest = (HERE / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"$', manifest, re.MULTILINE)[1]
    hold(config["version"] == version, f"config.yaml has version {config['version']}, and the program {version}")
    changes = (APP / "CHANGELOG.md").read_text()
    hold(f"## {version}" in changes, f"CHANGELOG.md of the app has no section {version}")
    for name in ("DOCS.md", "README.md"):
        hold((APP / name).stat().st_size > 200, f"{name} says nothing")
    hold(size(APP / "icon.png") == (128, 128), "icon.png is not 128 by 128")
    hold(size(APP / "logo.png")[1] == 100, "logo.png is not 100 high")
    hold(not list(APP.glob("build.*")), "build.yaml is deprecated: the Dockerfile has everything")
    # The supervisor takes every config.yaml outside of rootfs for an app.
    found = [path for path in REPOSITORY.rglob("config.*") if "rootfs" not in path.parts]
    hold(found == [APP / "config.yaml"], f"more than one app: {found}")

    first = (APP / "rootfs" / FIRST.lstrip("/")).read_text()
    listen = yaml.safe_load(first)["listen"]
    port = config["ingress_port"]
    hold(listen["address"] == f"0.0.0.0:{port}" and listen["ingress"] is True, "the first configuration does not listen for ingress")
    hold(f"[PORT:{port}]/healthz" in config["watchdog"], "the watchdog asks at another port")
    for key, value in config["options"].items():
        allowed = re.fullmatch(r"list\((.*)\)", config["schema"][key])
        hold(allowed and value in allowed[1].split("|"), f"{key}: {value} is not one of its words")
    hold(set(config["options"]) == set(config["schema"]), "an option has no default or no form")
    print("app: ports, version, options and pictures belong together")


# --- The script ------------------------------------------------------------------------------------------------------------------


class Supervisor(http.server.BaseHTTPRequestHandler):
    """Answers what the supervisor answers to an app about the service `mqtt`."""

    data = None

    def do_GET(self):
        allowed = self.headers["Authorization"] == f"Bearer {TOKEN}" and self.path == "/services/mqtt"
        if not allowed:
            status, answer = 403, {"result": "error", "message": "Forbidden"}
        elif self.data is None:
            status, answer = 400, {"result": "error", "message": "Service not enabled"}
        else:
            status, answer = 200, {"result": "ok", "data": self.data}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# Stand-ins for programs that need root. The last one is what is started in the end: it prints its arguments and its environment.
PROGRAMS = {
    "chown": "exit 0",
    "setpriv": 'printf "argument %s\\n" "$@"; env',
}


def start(folder, url, options=None, token=TOKEN):
    """Runs the script with its folders in `folder`: what is started in the end, and what it says."""
    script = (APP / "rootfs/usr/bin/stakeout-app").read_text()
    hold(DEFAULT_URL in script and FIRST in script, "the script has other places")
    script = script.replace(FIRST, str(APP / "rootfs" / FIRST.lstrip("/")))
    for name in ("config", "data", "share"):
        script = re.sub(rf"(?<![\w/])/{name}(?=[/ \n])", str(folder / name), script)
        (folder / name).mkdir(exist_ok=True)
    if options is not None:
        (folder / "data/options.json").write_text(json.dumps(options))
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "SUPERVISOR_URL": url}
    if token:
        environment |= {"SUPERVISOR_TOKEN": token, "HASSIO_TOKEN": token}
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, env=environment, timeout=60)
    hold(done.returncode == 0, f"the script ends with {done.returncode}: {done.stderr}")
    lines = done.stdout.splitlines()
    started = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    started[""] = [line.removeprefix("argument ") for line in lines if line.startswith("argument ")]
    return started, done.stderr


def check_script():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Supervisor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    usual = {"host": "core-mosquitto", "port": 1883, "ssl": False, "protocol": "3.1.1", "username": "addons", "password": "p w\"'$x\\"}
    none = ("mqtt://core-mosquitto:1883", "stakeout", "none")
    cases = [
        ("the Mosquitto broker", usual, TOKEN, ("mqtt://core-mosquitto:1883", "addons", "p w\"'$x\\")),
        ("TLS", usual | {"ssl": True, "port": 8883}, TOKEN, ("mqtts://core-mosquitto:8883", "addons", "p w\"'$x\\")),
        ("an IPv6 address", usual | {"host": "fd00::7"}, TOKEN, ("mqtt://[fd00::7]:1883", "addons", "p w\"'$x\\")),
        ("no login", {"host": "10.0.0.2", "port": 1884}, TOKEN, ("mqtt://10.0.0.2:1884", "stakeout", "none")),
        ("no broker", None, TOKEN, none),
        ("a wrong token", usual, "f" * 64, none),
        ("no supervisor", usual, "", none),
    ]
    for what, Supervisor.data, token, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            started, said = start(folder, url, {"log": "debug"}, token)
            found = tuple(started.get(f"MQTT_{name}") for name in ("URL", "USERNAME", "PASSWORD"))
            hold(found == expected, f"{what}: {found}\n{said}")
            hold(("names no broker" in said) == (expected == none), f"{what}: {said}")
            hold(not any(secret in said for secret in (TOKEN, "p w")), f"{what}: a secret is logged")
            hold(TOKEN not in started.values(), f"{what}: the service receives the supervisor's token")
            hold(started["RUST_LOG"] == "warn,stakeout=debug", f"{what}: {started['RUST_LOG']}")
            arguments = started[""]
            config = folder / "config/stakeout.yaml"
            hold(arguments[-7:] == ["--no-new-privs", "/usr/bin/stakeout", "run", "--stop-timeout", "25s", "--config", str(config)], f"{what}: {arguments}")
            hold("stakeout" in arguments and "--bounding-set=-all" in arguments, f"{what}: root is not given up: {arguments}")
            hold(config.read_text() == (APP / "rootfs" / FIRST.lstrip("/")).read_text(), f"{what}: no first configuration")
            hold(Path(started["STATE_DIRECTORY"]) == folder / "data/state" and (folder / "data/cache").is_dir(), f"{what}: {started}")
            # A second start, without options, keeps what people have written.
            config.write_text("mine\n")
            (folder / "data/options.json").unlink()
            started, _ = start(folder, url, token=token)
            hold(config.read_text() == "mine\n", f"{what}: the configuration is overwritten")
            hold(started["RUST_LOG"] == "warn,stakeout=info", f"{what}: {started['RUST_LOG']}")
    server.shutdown()
    print(f"app: the script starts the service in {len(cases)} cases")


def check_first_configuration(program):
    environment = os.environ | {"MQTT_URL": "mqtt://core-mosquitto:1883", "MQTT_USERNAME": "addons", "MQTT_PASSWORD": "secret"}
    command = [program, "check", "--offline", "--config", APP / "rootfs" / FIRST.lstrip("/")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    hold(done.returncode == 0, f"the first configuration has mistakes:\n{done.stderr}")
    print("app: the first configuration is valid")


check_mistakes_are_found()
check_together(check_schema())
check_script()
if len(sys.argv) > 1:
    check_first_configuration(sys.argv[1])
