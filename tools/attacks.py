#!/usr/bin/env python3
"""Runs every test that docs/security.md and docs/reliability.md name, and ends with a table of the promises: `make attacks`, or
`tools/attacks.py [--short] [--write]`.

The tests run in their long form (STAKEOUT_PROVE=long), and the scripts that the tables name run, too: one or two hours, as root. `--short`
runs only the tests, as the gate does, in minutes. `--write` writes the date into the last column of each promise whose proofs
have passed. A promise is skipped if one of its proofs is; the reason is printed. The exit code is 1 if a proof fails.
"""

import argparse
import datetime
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PAGES = ["docs/security.md", "docs/reliability.md"]
HEAD = "| promise | proven by | last result |"
COMMANDS = ("tools/", "make ", "cargo ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="only the tests, in the form of the gate")
    parser.add_argument("--write", action="store_true", help="write the results into the pages")
    arguments = parser.parse_args()
    os.chdir(HERE)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    promises = [promise for page in PAGES for promise in read(page)]
    proofs = list(dict.fromkeys(proof for promise in promises for proof in promise["proofs"]))
    commands = [proof for proof in proofs if proof.startswith(COMMANDS)]
    results = run_tests([proof for proof in proofs if proof not in commands], arguments.short)
    for command in commands:
        results[command] = ("skipped", "not in the short form") if arguments.short else run_command(command)
    for promise in promises:
        promise["outcome"] = outcome([results[proof] for proof in promise["proofs"]])
    if arguments.write:
        for page in PAGES:
            write(page, [promise for promise in promises if promise["page"] == page])
    show(promises, results)
    sys.exit(1 if any(state == "FAILED" for state, _ in results.values()) else 0)


def read(page):
    """The rows of the tables of promises."""
    found, inside = [], False
    for number, line in enumerate((HERE / page).read_text().splitlines()):
        inside = line == HEAD or (inside and line.startswith("|"))
        if inside and line != HEAD and not line.startswith("|---"):
            text, proofs, result = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append({"page": page, "line": number, "text": text, "proofs": proofs.split("`")[1::2], "result": result})
    return found


def outcome(results):
    for state in ("FAILED", "skipped"):
        for found, why in results:
            if found == state:
                return state, why
    return "passed", ""


def binaries():
    """The programs with the tests: of the library, and the black-box tests."""
    command = ["cargo", "test", "--locked", "--no-run", "--message-format=json", "--lib", "--test", "it"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit("the tests cannot be built")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    found = [message["executable"] for message in messages if message.get("executable") and message["profile"]["test"]]
    return list(dict.fromkeys(found))


def run_tests(names, short):
    """The state of each test, and the reason if it was skipped."""
    results = {name: ("FAILED", "there is no such test") for name in names}
    with tempfile.NamedTemporaryFile("r+") as skipped:
        environment = os.environ | {"STAKEOUT_SKIPPED": skipped.name} | ({} if short else {"STAKEOUT_PROVE": "long"})
        for binary in binaries():
            listed = subprocess.run([binary, "--list", "--format", "terse"], stdout=subprocess.PIPE, text=True, check=True)
            own = {line.removesuffix(": test") for line in listed.stdout.splitlines()} & set(names)
            if not own:
                continue
            print(f"\n== {len(own)} tests of {Path(binary).name}", flush=True)
            # The long forms print figures, and keep a small machine busy.
            more = ["--show-output", "--test-threads=2"] if not short else []
            command = [binary, "--exact", *sorted(own), *more]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
            output = []
            for line in process.stdout:
                print(line, end="", flush=True)
                output.append(line)
            process.wait()
            for name, state in states("".join(output), own).items():
                results[name] = (state, "")
        for line in skipped.read().splitlines():
            name, _, why = line.partition(": ")
            if results.get(name, ("",))[0] == "passed":
                results[name] = ("skipped", why)
    return results


def states(output, names):
    """The state of each test, from the output of a test program."""
    failed = set(re.findall(r"^    (\S+)$", output.rpartition("\nfailures:\n")[2], re.MULTILINE)) if "\nfailures:\n" in output else set()
    finished = re.search(r"^test result: .* (\d+) passed; (\d+) failed; (\d+) ignored", output, re.MULTILINE)
    if not finished or int(finished[3]):
        # It ended early: a test without a result has failed.
        passed = set(re.findall(r"^test (\S+) \.\.\. ok$", output, re.MULTILINE))
        return {name: "passed" if name in passed else "FAILED" for name in names}
    return {name: "FAILED" if name in failed else "passed" for name in names}


def run_command(command):
    print(f"\n== {command}", flush=True)
    began = time.monotonic()
    process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() if line.startswith(("skipped", "NOT checked")) else last
    code = process.wait()
    print(f"exit code {code} after {time.monotonic() - began:.0f} s", flush=True)
    if code != 0:
        return "FAILED", f"exit code {code}"
    return ("skipped", last) if last else ("passed", "")


def write(page, promises):
    lines = (HERE / page).read_text().splitlines()
    today = datetime.date.today().isoformat()
    for promise in promises:
        if promise["outcome"][0] == "passed":
            before, _, _ = lines[promise["line"]].rstrip(" |").rpartition(" | ")
            lines[promise["line"]] = f"{before} | passed {today} |"
    (HERE / page).write_text("\n".join(lines) + "\n")


def show(promises, results):
    print("\n== proofs that did not pass")
    for proof, (state, why) in results.items():
        if state != "passed":
            print(f"{state:8}{proof}{': ' + why if why else ''}")
    for page in PAGES:
        print(f"\n== {page}")
        for promise in promises:
            if promise["page"] == page:
                state, why = promise["outcome"]
                print(f"{state:8}{promise['text']}{' (' + why + ')' if why else ''}")
    counts = {state: sum(promise["outcome"][0] == state for promise in promises) for state in ("passed", "FAILED", "skipped")}
    print(f"\n{counts['passed']} promises passed, {counts['FAILED']} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main()
