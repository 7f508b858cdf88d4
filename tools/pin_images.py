#!/usr/bin/env python3
"""Writes into the Dockerfile which images it builds on: `tools/pin_images.py [--check]`.

A tag such as `debian:trixie-slim` is another image tomorrow; a digest never is. This script asks the registry for the digest of
each tag, with `skopeo` or `docker buildx`, and writes it behind the tag. The digest is that of the list of platforms, so it is the same
for amd64 and arm64. Run it before a release, and commit the result. Run it again for newer images: a pinned image gets no security
updates.

`--check` needs no network. It fails if a digest is malformed, and prints the images that have none.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCKERFILE = Path(__file__).resolve().parent.parent / "Dockerfile"
IMAGE = re.compile(r"^FROM (?P<tag>[a-z0-9./-]+:[a-z0-9.-]+)(?P<digest>@\S+)? AS ", re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def commands(tag):
    """What prints the digest of a tag, by program."""
    return {
        "skopeo": ["skopeo", "inspect", "--raw", f"docker://{tag}"],
        "docker": ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", tag],
    }


def digest(tag):
    for program, command in commands(tag).items():
        if not shutil.which(program):
            continue
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit(f"{tag}: {program} cannot ask the registry:\n{done.stderr.decode(errors='replace')[-1000:]}")
        if program == "skopeo":
            # The digest of a manifest is the hash of its bytes.
            return f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
        return json.loads(done.stdout)["digest"]
    sys.exit("this needs skopeo or docker buildx: apt-get install skopeo")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = DOCKERFILE.read_text()
    images = list(IMAGE.finditer(text))
    if not images:
        sys.exit("the Dockerfile names no image")
    if arguments.check:
        for image in images:
            if image["digest"] and not DIGEST.fullmatch(image["digest"][1:]):
                sys.exit(f"{image['tag']}: {image['digest']} is no digest")
        loose = [image["tag"] for image in images if not image["digest"]]
        if loose:
            print(", ".join(loose))
        return
    found = {image["tag"]: digest(image["tag"]) for image in images}
    wrong = [tag for tag, value in found.items() if not DIGEST.fullmatch(value)]
    if wrong:
        sys.exit(f"the registry gives no digest for {', '.join(wrong)}")
    DOCKERFILE.write_text(IMAGE.sub(lambda image: f"FROM {image['tag']}@{found[image['tag']]} AS ", text))
    for tag, value in found.items():
        print(f"{tag}@{value}")


if __name__ == "__main__":
    main()
