#!/usr/bin/env python3
"""Carries out the Dockerfile without a container engine: `tools/test_dockerfile.py [--debian SUITE] [--deb FILE | --look]`.

`--app` carries out that of the app of Home Assistant instead, in the folder that `tools/home_assistant_app.sh` makes, with the package of
`--deb`. Every stage is a clean Debian (tools/clean_debian.sh), in which every instruction is carried out: COPY with .dockerignore, RUN as
root, and at the end the health check while the program runs as the image's user on a read-only system. The build stage uses
this machine's Rust and cargo folders. `--deb` skips the build stage and uses this package; `--look` only parses the Dockerfile.
`--debian` is the build argument DEBIAN, and `--output` a folder for the package. It needs root, Debian, debootstrap and
systemd-nspawn; without them it prints that it is skipped.
"""

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def instructions(text):
    """The instructions as (word, rest), with continued lines joined and without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.strip().split(None, 1)) for line in whole.splitlines()]


def stages(text, given):
    """The stages as (image, name, instructions). `given` are the build arguments; the file has the defaults. A stage that builds on
    another stage without instructions has that stage's image.
    """
    found, arguments, images = [], {}, {}
    for word, rest in instructions(text):
        if word == "ARG" and not found:
            key, default = rest.split("=", 1)
            arguments[key] = given.get(key) or default
        elif word == "FROM":
            rest = re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], rest)
            image, *name = re.split(r"\s+AS\s+", rest, flags=re.IGNORECASE)
            image = images.get(image, image)
            images |= {name[0]: image} if name else {}
            found.append((image, name[0] if name else None, []))
        else:
            found[-1][2].append((word, rest))
    return found


def hold(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def look_at(found, is_app=False):
    """Checks the instructions before any of them is carried out."""
    known = {"RUN", "COPY", "WORKDIR", "ENV", "VOLUME", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL"}
    for image, _, steps in found:
        reference = r"[a-z0-9./-]+:[a-z0-9.-]+(@sha256:[0-9a-f]{64})?"
        hold(image == "scratch" or re.fullmatch(reference, image) and ":latest" not in image, f"{image} has no fixed tag")
        for word, rest in steps:
            hold(word in known, f"{word} is not supported here")
            hold("apt-get install" not in rest or "--no-install-recommends" in rest, f"recommended packages are installed: {rest}")
    last = dict(found[-1][2])
    # The script of the app needs root for the folders that the supervisor mounts, and gives it up: `runs_as_app` checks that.
    hold(is_app or last.get("USER") not in (None, "root", "0"), "the last stage runs as root")
    for word in ("HEALTHCHECK", "ENTRYPOINT") if is_app else ("HEALTHCHECK", "ENTRYPOINT", "CMD", "VOLUME"):
        hold(word in last, f"the last stage has no {word}")
    hold(isinstance(json.loads(last["ENTRYPOINT"]), list), "the program must be started without a shell, which would take its signals")
    built = [name for _, name, steps in found if steps]
    print(f"Dockerfile: {len(built)} stages, the last as user {last.get('USER', 'root')}, with a health check")


def files(context):
    """The names of the files that a build in this folder sees: those that git knows, in a checkout."""
    if context == HERE:
        tracked = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=HERE, capture_output=True, check=True)
        return list(filter(None, tracked.stdout.decode().split("\0")))
    return [str(path.relative_to(context)) for path in sorted(context.rglob("*")) if path.is_file()]


class Stage:
    def __init__(self, root, suite, context, binds=()):
        self.root, self.context, self.binds, self.folder, self.environment = root, context, list(binds), "/", {}
        if suite:
            subprocess.run([HERE / "tools/clean_debian.sh", root, suite], check=True)
        else:
            root.mkdir()

    def command(self, words, user=None, extra=()):
        nspawn = ["systemd-nspawn", "-q", "-D", self.root, "--register=no", "--keep-unit", "--resolv-conf=replace-host"]
        nspawn += ["--console=pipe", "--as-pid2", f"--chdir={self.folder}", *self.binds, *extra]
        nspawn += [f"--setenv={key}={value}" for key, value in self.environment.items()]
        return nspawn + ([f"--user={user}"] if user else []) + list(words)

    def run(self, line, others):
        extra = []
        while line.startswith("--mount="):
            mount, line = line.split(None, 1)
            options = dict(pair.split("=", 1) for pair in mount.removeprefix("--mount=").split(","))
            hold(options["type"] == "bind", f"{mount} is not supported here")
            # Without `from`: of the folder in which the image is built.
            source = (others[options["from"]] if "from" in options else self.context) / options["source"].lstrip("/")
            extra.append(f"--bind-ro={source}:{options['target']}")
        print(f"RUN {' '.join(line.split())[:100]}", flush=True)
        command = self.command(["/bin/sh", "-c", line], extra=extra)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        hold(done.returncode == 0, f"exit code {done.returncode}: {line}\n{done.stdout[-3000:]}")

    def copy(self, rest, others):
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            other = others[sources.pop(0).removeprefix("--from=")]
            for source in sources:
                shutil.copytree(other / source.strip("/"), self.root / target.strip("/"), dirs_exist_ok=True)
            return
        ignored = self.context / ".dockerignore"
        ignored = [line for line in ignored.read_text().split("\n") if line and not line.startswith("#")] if ignored.exists() else []
        for source in sources:
            hold((self.context / source).exists(), f"COPY {source}: the file does not exist")
            for name in files(self.context):
                inside = source in (".", name) or name.startswith(source.rstrip("/") + "/")
                if not inside or any(fnmatch.fnmatch(part, line) for line in ignored for part in (name, name.split("/")[0])):
                    continue
                if (self.context / source).is_dir():
                    # What is in a folder is copied, without its name.
                    to = self.root / (self.folder if target == "." else target).lstrip("/") / (self.context / name).relative_to(self.context / source)
                else:
                    to = self.root / self.folder.lstrip("/") / target
                to.parent.mkdir(parents=True, exist_ok=True)
                if (self.context / name).is_file():
                    shutil.copy2(self.context / name, to)

    def do(self, steps, others):
        for word, rest in steps:
            if word == "RUN":
                self.run(rest, others)
            elif word == "COPY":
                self.copy(rest, others)
            elif word == "WORKDIR":
                self.folder = rest
                (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "ENV":
                self.environment.update(pair.split("=", 1) for pair in shlex.split(rest))


def toolchain(suite):
    """Provides what the rust image contains: this machine's Rust, in its place, with the same variables."""
    home = Path.home()
    cargo = Path(os.environ.get("CARGO_HOME", home / ".cargo"))
    rustup = Path(os.environ.get("RUSTUP_HOME", home / ".rustup"))
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
    data = Path(os.environ.get("XDG_DATA_HOME", home / ".local/share")) / "stakeout"
    own = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if not own or suite != own[1]:
        # A folder of its own for build results: they depend on the libraries of the system.
        target = target / suite
    target.mkdir(parents=True, exist_ok=True)
    binds = [f"--bind={folder}" for folder in (cargo, rustup, target, data) if folder.is_dir()]
    environment = {
        "CARGO_HOME": cargo,
        "RUSTUP_HOME": rustup,
        "CARGO_TARGET_DIR": target,
        "XDG_DATA_HOME": data.parent,
        "PATH": f"{cargo}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    passed = ("PIP_", "CARGO_REGISTRIES", "CARGO_SOURCE", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
    environment |= {key: value for key, value in os.environ.items() if key.startswith(passed)}
    return binds, environment


def healthy(stage, steps):
    """Runs the image as an engine would, and repeats its health check until it passes."""
    last = dict(steps)
    config = stage.root / "etc/stakeout/stakeout.yaml"
    check = re.search(r"CMD\s+(\[.*\])", last["HEALTHCHECK"])
    hold(check, "the health check is not a list")
    words = json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])
    # Both run in one container, and use its loopback interface.
    script = f"""
{shlex.join(words)} & program=$!
for second in $(seq 120); do
  if {shlex.join(json.loads(check[1]))} 2>/dev/null; then echo "healthy as $(id -un)"; break; fi
  kill -0 $program || exit 1
  sleep 1
done
kill -TERM $program
wait $program; code=$?
if {shlex.join(json.loads(check[1]))} 2>/dev/null; then echo 'healthy without the program'; exit 1; fi
exit $code
"""
    volumes = []
    for volume in json.loads(last["VOLUME"]):
        outside = stage.root.parent / volume.replace("/", "_")
        shutil.copytree(stage.root / volume.lstrip("/"), outside)
        owner = (stage.root / volume.lstrip("/")).stat()
        for path in (outside, *outside.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        volumes.append(f"--bind={outside}:{volume}")
    # With a token, which the health check must send.
    config.write_text('listen: { address: "0.0.0.0:9464", token: a-token-for-this-test }\n' + config.read_text())
    extra = ["--read-only", "--private-network", "--drop-capability=all", "--no-new-privileges=yes", *volumes]
    done = subprocess.run(stage.command(["/bin/bash", "-c", script], last["USER"], extra), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    hold(done.returncode == 0 and f"healthy as {last['USER']}" in done.stdout, f"exit code {done.returncode}:\n{done.stdout}{done.stderr[-3000:]}")
    print("image: healthy as its user on a read-only system without capabilities, ends with 0 on SIGTERM")


def runs_as_app(stage, steps):
    """Runs the image as Home Assistant's supervisor would, without a network: the script writes the first configuration and gives up
    root, and the service is healthy.
    """
    last = dict(steps)
    check = json.loads(re.search(r"CMD\s+(\[.*\])", last["HEALTHCHECK"])[1])
    first = stage.root / "usr/share/stakeout/home-assistant.yaml"
    # Without a network there is no model but the bundled one.
    text = first.read_text()
    hold("\nmodel: " in text, "the first configuration names no model")
    first.write_text(re.sub(r"\nmodel: .*", "", text))
    binds = []
    for name in ("data", "config", "share", "media"):
        outside = stage.root.parent / f"app-{name}"
        outside.mkdir()
        (stage.root / name).mkdir(exist_ok=True)
        binds.append(f"--bind={outside}:/{name}")
    (stage.root.parent / "app-data/options.json").write_text('{"log": "debug"}')
    script = f"""
{shlex.join(json.loads(last["ENTRYPOINT"]))} & program=$!
for second in $(seq 120); do
  if {shlex.join(check)} 2>/dev/null; then
    echo "healthy as $(stat -c %U /proc/$program) with capabilities $(sed -n 's/^CapEff:[[:space:]]*//p' /proc/$program/status)"
    break
  fi
  kill -0 $program || exit 1
  sleep 1
done
kill -TERM $program
wait $program
"""
    extra = ["--private-network", *binds]
    command = stage.command(["/bin/bash", "-c", script], extra=extra)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    hold(done.returncode == 0, f"exit code {done.returncode}:\n{done.stdout}{done.stderr[-3000:]}")
    hold("healthy as stakeout with capabilities 0000000000000000" in done.stdout, f"{done.stdout}{done.stderr[-3000:]}")
    hold("wrote a first stakeout.yaml" in done.stderr, done.stderr[-3000:])
    written = stage.root.parent / "app-config/stakeout.yaml"
    user = re.search(r"^stakeout:[^:]*:(\d+):", (stage.root / "etc/passwd").read_text(), re.MULTILINE)
    hold(written.stat().st_uid == int(user[1]), "the configuration does not belong to the service, which the console needs")
    print("app: healthy as the user stakeout without capabilities, with the first configuration, ends with 0 on SIGTERM")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--debian", metavar="SUITE")
    parser.add_argument("--deb", type=Path)
    parser.add_argument("--app", action="store_true")
    parser.add_argument("--look", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    app = HERE / "packaging/home-assistant/stakeout"
    found = stages(((app if arguments.app else HERE) / "Dockerfile").read_text(), {"DEBIAN": arguments.debian})
    look_at(found, arguments.app)
    if arguments.look:
        return
    if os.geteuid() != 0 or not all(map(shutil.which, ("debootstrap", "systemd-nspawn"))):
        print("the rest is skipped: it needs root, debootstrap and systemd-nspawn")
        return
    deb = arguments.deb
    hold(deb or not arguments.app, "--app needs --deb")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as work:
        roots, context = {}, HERE
        if arguments.app:
            subprocess.run([HERE / "tools/home_assistant_app.sh", "--output", f"{work}/repository", deb.resolve()], check=True)
            context = Path(work) / "repository/stakeout"
        for number, (image, name, steps) in enumerate(stage for stage in found if stage[2]):
            root = Path(work) / str(number)
            began = time.monotonic()
            suite = None if image == "scratch" else re.findall(r"[a-z]+", image.partition(":")[2].replace("slim", ""))[0]
            if name == "build" and deb:
                (root / "packages").mkdir(parents=True)
                shutil.copy(deb, root / "packages")
                print(f"stage {name} skipped: {deb.name} is used")
            else:
                binds, environment = toolchain(suite) if image.startswith("rust:") else ((), {})
                stage = Stage(root, suite, context, binds)
                stage.environment |= environment
                stage.do(steps, roots)
                print(f"stage {name or 'last'}: done in {time.monotonic() - began:.0f} s")
            roots[name] = root
            if name == "package" and arguments.output:
                for package in root.glob("*.deb"):
                    shutil.copy(package, arguments.output)
                    print(f"package: {package.name}")
        size = subprocess.run(["du", "-smx", root], capture_output=True, text=True, check=True).stdout.split()[0]
        print(f"image: {size} MB unpacked")
        (runs_as_app if arguments.app else healthy)(stage, found[-1][2])


main()
