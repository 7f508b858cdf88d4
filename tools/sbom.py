#!/usr/bin/env python3
"""Prints the software bill of materials of the program, in CycloneDX 1.6: `tools/sbom.py [--library FILE]`.

It names every crate and every npm package in the program with its version, licence and hash, and every C library that a crate compiles, with the version
in that crate's sources. Scanners need these: no crate version says which SQLite or libjpeg-turbo is inside. FILE is the ONNX Runtime
library of the package. A crate with C sources that this script does not know is an error.

`tools/sbom.py --check FILE` checks a finished file for what the schema of CycloneDX requires.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

import third_party

HERE = Path(__file__).resolve().parent.parent
# Sources that a build script may compile.
COMPILED = (".c", ".cc", ".cpp", ".cxx", ".s", ".asm")
# Crates with such sources that compile none of them, and why. The second value is the feature that would change this.
NOT_COMPILED = {"esaxx-rs": "cpp"}


def libjpeg_turbo(folder):
    version = found(folder / "libjpeg-turbo/CMakeLists.txt", r"^set\(VERSION ([\d.]+)\)")
    return {
        "name": "libjpeg-turbo",
        "version": version,
        "purl": f"pkg:github/libjpeg-turbo/libjpeg-turbo@{version}",
        "cpe": f"cpe:2.3:a:libjpeg-turbo:libjpeg-turbo:{version}:*:*:*:*:*:*:*",
        "licenses": [{"expression": "IJG AND BSD-3-Clause AND Zlib"}],
    }


def sqlite(folder):
    version = found(folder / "sqlite3/sqlite3.h", r'^#define SQLITE_VERSION\s+"([\d.]+)"')
    return {
        "name": "SQLite",
        "version": version,
        "purl": f"pkg:generic/sqlite@{version}",
        "cpe": f"cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*",
        "licenses": [{"expression": "blessing"}],
    }


def boringssl(folder):
    text = "Cryptographic primitives of BoringSSL, as in this version of ring. BoringSSL itself has no versions."
    return {"name": "BoringSSL (parts in ring)", "description": text, "licenses": [{"expression": "Apache-2.0 AND ISC"}]}


# The crates that compile C, and what they compile.
VENDORED = {"turbojpeg-sys": libjpeg_turbo, "libsqlite3-sys": sqlite, "ring": boringssl}


def found(file, pattern):
    match = re.search(pattern, file.read_text(errors="replace"), re.MULTILINE)
    if not match:
        sys.exit(f"{file} does not state its version")
    return match[1]


def compiles(package, features):
    """Whether the build script of a crate compiles C, C++ or assembly: it has one, and such sources."""
    if not any("custom-build" in target["kind"] for target in package["targets"]):
        return False
    if package["name"] in NOT_COMPILED and NOT_COMPILED[package["name"]] not in features:
        return False
    folder = Path(package["manifest_path"]).parent
    kept = (path for path in folder.rglob("*") if path.suffix.lower() in COMPILED)
    return any(not {"tests", "test", "benches", "examples"} & set(path.relative_to(folder).parts) for path in kept)


def expression(licence):
    """Old crates separate alternatives by a slash."""
    return re.sub(r"\s*/\s*", " OR ", licence)


def crate(package, checksum):
    component = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "purl": f"pkg:cargo/{package['name']}@{package['version']}",
    }
    if package["license"]:
        component["licenses"] = [{"expression": expression(package["license"])}]
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def reference(package):
    return f"crate:{package['name']}@{package['version']}"


def npm(package):
    """A package of the console."""
    algorithm, digest = package["integrity"].split("-", 1)
    if algorithm != "sha512":
        sys.exit(f"{package['name']}: the lock file has {algorithm} instead of sha512")
    return {
        "type": "library",
        "bom-ref": f"npm:{package['name']}@{package['version']}",
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "purl": f"pkg:npm/{package['name'].replace('@', '%40')}@{package['version']}",
        "licenses": [{"expression": package["license"]}],
        "hashes": [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}],
    }


def others(library):
    """What is linked when the program starts: ONNX Runtime, which is in the package, and the distribution's FFmpeg."""
    version = found(HERE / "tools/setup.sh", r"^\s*local version=([\d.]+)")
    onnxruntime = {
        "type": "library",
        "bom-ref": "onnxruntime",
        "name": "ONNX Runtime",
        "version": version,
        "scope": "required",
        "purl": f"pkg:pypi/onnxruntime@{version}",
        "cpe": f"cpe:2.3:a:microsoft:onnxruntime:{version}:*:*:*:*:*:*:*",
        "licenses": [{"expression": "MIT"}],
        "description": "The library of the wheel; ThirdPartyNotices.txt next to it lists what it contains.",
    }
    if library and library.is_file():
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
        onnxruntime["hashes"] = [{"alg": "SHA-256", "content": digest}]
    ffmpeg = {
        "type": "library",
        "bom-ref": "ffmpeg",
        "name": "FFmpeg",
        "scope": "excluded",
        "description": "Not in the package: libavcodec, libavformat, libavutil and libswscale of the distribution, in its version.",
    }
    return [onnxruntime, ffmpeg]


def document(library):
    os.chdir(HERE)
    metadata = third_party.metadata()
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    entry = r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]+)"'
    locked = re.findall(entry, (HERE / "Cargo.lock").read_text())
    checksums = {(name, version): checksum for name, version, checksum in locked}
    packages = third_party.in_the_program(metadata)
    root = next(package for package in metadata["packages"] if package["id"] == metadata["resolve"]["root"])
    names = {package["id"]: reference(package) for package in packages}
    components, dependencies = [], {}
    for package in sorted(packages, key=reference):
        components.append(crate(package, checksums.get((package["name"], package["version"]))))
        needs = [names[dependency["pkg"]] for dependency in nodes[package["id"]]["deps"] if dependency["pkg"] in names]
        if compiles(package, nodes[package["id"]]["features"]):
            if package["name"] not in VENDORED:
                sys.exit(f"{package['name']} has C sources: add what it compiles to VENDORED or NOT_COMPILED in tools/sbom.py")
            part = VENDORED[package["name"]](Path(package["manifest_path"]).parent)
            own = {"type": "library", "bom-ref": f"{reference(package)}#{part['name']}", "scope": "required"}
            components.append(own | part)
            needs.append(own["bom-ref"])
        dependencies[reference(package)] = sorted(set(needs))
    console = [npm(package) for package in third_party.in_the_console()]
    components += console
    linked = others(library)
    components += linked
    direct = [names[dependency["pkg"]] for dependency in nodes[root["id"]]["deps"] if dependency["pkg"] in names]
    me = {
        "type": "application",
        "bom-ref": "stakeout",
        "name": root["name"],
        "version": root["version"],
        "purl": f"pkg:generic/{root['name']}@{root['version']}",
        "licenses": [{"expression": root["license"]}],
    }
    dependencies["stakeout"] = sorted(set(direct)) + [component["bom-ref"] for component in console + linked]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": when(), "component": me},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": needs} for ref, needs in sorted(dependencies.items())],
    }
    # The same source gives the same number.
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
    return bom


def when():
    """The time of the source, as for the package's change log."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if not given:
        git = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True)
        given = git.stdout.strip() or int((HERE / "CHANGELOG.md").stat().st_mtime)
    return datetime.fromtimestamp(int(given), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


TYPES = """application framework library container platform operating-system device device-driver firmware file
machine-learning-model data cryptographic-asset""".split()


def faults(bom):
    """What the schema of CycloneDX 1.6 requires and this document does not have, as far as `document` uses the schema."""
    wrong = []

    def require(holds, what):
        if not holds:
            wrong.append(what)

    require(bom.get("bomFormat") == "CycloneDX" and bom.get("specVersion") == "1.6", "it is not CycloneDX 1.6")
    require(isinstance(bom.get("version"), int) and bom["version"] >= 1, "its version is not a number from 1")
    number = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    require(re.fullmatch(number, str(bom.get("serialNumber"))), "the serial number is no URN of a UUID")
    metadata = bom.get("metadata", {})
    require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(metadata.get("timestamp"))), "the time is no RFC 3339 time")
    every = [metadata.get("component", {}), *bom.get("components", [])]
    references = [component.get("bom-ref") for component in every]
    require(len(set(references)) == len(references), "two components have the same bom-ref")
    for component in every:
        name = component.get("name")
        require(isinstance(name, str) and name, f"{component} has no name")
        require(component.get("type") in TYPES, f"{name}: the type is unknown")
        require(component.get("scope", "required") in ("required", "optional", "excluded"), f"{name}: the scope is unknown")
        require(re.fullmatch(r"pkg:[a-z]+/\S+@\S+", component.get("purl", "pkg:a/b@c")), f"{name}: the purl is malformed")
        cpe = r"cpe:2\.3:[aho](:[^:\s]+){10}"
        require(re.fullmatch(cpe, component.get("cpe", "cpe:2.3:a:b:c:d:*:*:*:*:*:*:*")), f"{name}: the CPE is malformed")
        for entry in component.get("hashes", []):
            length = {"SHA-256": 64, "SHA-512": 128}.get(entry["alg"], 0)
            require(re.fullmatch(rf"[0-9a-f]{{{length}}}", entry["content"]) and length, f"{name}: the hash is malformed")
        licences = component.get("licenses", [])
        require(len(licences) < 2 and all(list(entry) == ["expression"] for entry in licences), f"{name}: not one licence expression")
        for entry in licences:
            require(re.fullmatch(r"[A-Za-z0-9.+\- ()]+", entry["expression"]), f"{name}: {entry['expression']} is no expression of SPDX")
    known, listed = set(references), [entry.get("ref") for entry in bom.get("dependencies", [])]
    require(len(set(listed)) == len(listed), "a component has two lists of dependencies")
    for entry in bom.get("dependencies", []):
        for ref in [entry.get("ref"), *entry.get("dependsOn", [])]:
            require(ref in known, f"{ref} is no component")
    for name in ("libjpeg-turbo", "SQLite", "ONNX Runtime"):
        require(any(component.get("name") == name and component.get("version") for component in every), f"{name} has no version")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", type=Path)
    parser.add_argument("--check", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.check:
        bom = json.loads(arguments.check.read_text())
    else:
        bom = document(arguments.library)
    wrong = faults(bom)
    if wrong:
        sys.exit("the SBOM is invalid:\n" + "\n".join(wrong))
    if arguments.check:
        print(f"SBOM: {len(bom['components'])} components, valid")
    else:
        json.dump(bom, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
