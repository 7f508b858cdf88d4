#!/usr/bin/env python3
"""Prints the licences of all crates and npm packages in the program, each text once, below the names of its packages.

Most licences require this text with every copy of the program. A crate with neither a text nor a licence expression is an error. The npm packages are those of the console: the build of web/ lists them.
"""

import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
KINDS = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def in_the_program(metadata):
    """The packages in the program, without those that are only needed for building or for tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, waiting = set(), [metadata["resolve"]["root"]]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for dependency in nodes[name]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    found.discard(metadata["resolve"]["root"])
    return [package for package in metadata["packages"] if package["id"] in found]


def metadata():
    """What cargo knows about the packages for this machine's platform, or for that of CARGO_BUILD_TARGET."""
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    host = next(line.split()[1] for line in version.splitlines() if line.startswith("host:"))
    platform = os.environ.get("CARGO_BUILD_TARGET", host)
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", platform]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def in_the_console():
    """The npm packages in the console: name, version, license, integrity and text of each."""
    return json.loads((HERE / "web/dist/packages.json").read_text())


def main():
    texts, without = {}, []
    for package in in_the_console():
        label = f"{package['name']} {package['version']}, npm ({package['license']})"
        texts.setdefault(package["text"].strip(), set()).add(label)
    for package in in_the_program(metadata()):
        label = f"{package['name']} {package['version']} ({package['license'] or 'see below'})"
        folder = Path(package["manifest_path"]).parent
        # C libraries inside a crate have a folder of their own.
        files = [file for file in sorted([*folder.iterdir(), *folder.glob("*/*")]) if file.name.lower().startswith(KINDS)]
        files = [file for file in files if file.is_file()]
        if not files:
            if not package["license"]:
                raise SystemExit(f"{label} does not state its licence")
            without.append(label)
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip(), set()).add(label)
    for file in sorted(HERE.glob("src/**/*.LICENSE")):
        texts.setdefault(file.read_text().strip(), set()).add(f"{file.stem}, inside the program")
    print("Third-party software in stakeout, and its licences.\n")
    print("Crates with the name of a licence but without its text:", ", ".join(sorted(without)) or "none", sep="\n")
    for text, labels in sorted(texts.items(), key=lambda entry: sorted(entry[1])):
        print("\n" + "=" * 100, *sorted(labels), "-" * 100, text, sep="\n")


if __name__ == "__main__":
    main()
