#!/usr/bin/env python3
"""Prints the licences of all crates that are in the program, each text once, below the names that it is for.

Most licences ask for that wherever the program goes. It stops when a crate has neither a text nor an expression.
"""

import json
import subprocess
from pathlib import Path

KINDS = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def in_the_program(metadata):
    """The packages that the program is made of: what is only for building or for tests is not in it."""
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


def main():
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    host = next(line.split()[1] for line in version.splitlines() if line.startswith("host:"))
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    texts, without = {}, []
    for package in in_the_program(metadata):
        label = f"{package['name']} {package['version']} ({package['license'] or 'see below'})"
        folder = Path(package["manifest_path"]).parent
        # A library in C that a crate brings lies in a folder below it.
        files = [file for file in sorted([*folder.iterdir(), *folder.glob("*/*")]) if file.name.lower().startswith(KINDS)]
        files = [file for file in files if file.is_file()]
        if not files:
            if not package["license"]:
                raise SystemExit(f"{label} says nothing about its licence")
            without.append(label)
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip(), set()).add(label)
    print("Third-party software in stakeout, and its licences.\n")
    print("Crates that bring no text, only its name:", ", ".join(sorted(without)) or "none", sep="\n")
    for text, labels in sorted(texts.items(), key=lambda entry: sorted(entry[1])):
        print("\n" + "=" * 100, *sorted(labels), "-" * 100, text, sep="\n")


main()
