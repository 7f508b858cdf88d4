#!/usr/bin/env python3
"""Lists the words that this project does not use: in comments, identifiers, messages and pages.

The writing rules are in CONTRIBUTING.md. Each line of the output is `FILE:LINE: PHRASE -> WHAT TO WRITE`, and the last
lines, on standard error, count the phrases. The exit code is 1 if there are more than `--limit` of them (default: 0).

    tools/voice.py                    every tracked text file
    tools/voice.py src/alert docs     only these folders and files, files not yet added to git included
    tools/voice.py --count            only the counts
    tools/voice.py --also             further phrases that are often, but not always, unclear; they never fail

An identifier counts as the words that it is made of: `was_told`, `WAS_TOLD` and `WasTold` all contain "told".
"""

import argparse
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Between the words of a phrase: spaces, an underscore, or a line break with the marks of a comment.
GAP = r"(?:_|[ \t]+|[ \t]*\n[ \t]*(?:///?|//!|#|\*|>)?[ \t]*)"


def words(*phrases):
    """A pattern for these phrases. `|` separates alternatives; a space is any gap."""
    alternatives = []
    phrases = "|".join(phrases)
    for phrase in phrases.split("|"):
        parts = [rf"(?:(?<![A-Za-z]){part[0]}|{part[0].upper()}){part[1:]}(?![a-z])" for part in phrase.split(" ")]
        upper = [rf"(?<![A-Za-z]){part.upper()}(?![A-Za-z])" for part in phrase.split(" ")]
        alternatives += [GAP.join(parts), GAP.join(upper)]
    pattern = "|".join(alternatives)
    KEYS[pattern] = [max(phrase.split(" "), key=len) for phrase in phrases.split("|")]
    return pattern


# For each pattern, some words. Every text that matches has one of them, so most files need no search with most patterns.
KEYS = {}

ANY = r"[\w`'.{}%:/-]+"

# The voice table: pattern, what to write.
TABLE = [
    (words("told|tell|tells|telling|teller|tellers|retell|untold"), "reported, published, logged, returned, notified"),
    (words("stand|stands|stood|standing|standstill"), "is; is defined in; is kept in; stalls"),
    (words("lie|lies|lay|lain"), "is; is between"),
    (words("nobody|whoever|whomever|whosoever"), "no one does X -> 'X is rejected'; the caller; the client"),
    (words("who asks|who asked|whom it asks"), "the caller; the client"),
    (words("looked at|looks at"), "checked, evaluated, scored"),
    (words("mend|mends|mended|mending"), "repaired, recovery"),
    (words("in the place of"), "instead of"),
    (words("not in order|is in order|are in order|was in order|were in order"), "valid; invalid"),
    (words("word to stop|words to stop|told to stop"), "the stop signal"),
    (words("from now on|from then on|from here on|from there on|from which on|from when on|from where on"),
     "since X; starting at X; later"),
    (rf"(?<![A-Za-z_])[Ff]rom{GAP}(?:{ANY}{GAP}){{1,6}}?on(?=[.,;:)\n]|{GAP}(?:and|until|to|it|they|is|are|for|if)\b)",
     "since X; starting at X"),
    (words("on its way|on their way|on the way|on our way"), "in flight"),
    (words("a moment ago|a moment later|a moment before|a moment after"), "give the time, or drop it"),
    (words("so many|so long|so much"), "the number, or the name of the limit"),
    (words("by itself|by themselves|of itself"), "automatically; alone"),
    (words("what it knows|what they know|what is known|what was known|is known of|what one knows"), "state"),
]

# "leave" where it means close, disconnect or delete; "leave out" and "on the left" are plain English.
THINGS = r"(?:outbox|stream|disk|disc|file|queue|window|board|broker|server|service|memory|table|Home Assistant)"
TABLE.append((
    rf"(?i:\b(?:leave|leaves|leaving|left){GAP}(?:the{GAP}|its{GAP}|a{GAP}|an{GAP})?{THINGS}\b)",
    "close, disconnect; delete"))

# Only in Rust, outside of comments: identifiers of the rename table.
RUST = [
    (r"(?<![\w\"])(?:leave|LEAVE|Leaving|leaving)(?=[.,;(=<]|:(?!:)| =|\s*=>)", "close, disconnect, remove, stop"),
    (r"\b(?:Judging|Keeper|Meter|Teller)\b", "JudgeThread, ConfigApplier, ScorePublisher, SinkWorker"),
    (r"\bconfig::Rule\b|\bstruct Rule\b(?=[^}]*threshold)", "TriggerSettings"),
    (r"\b(?:struct|enum|type)\s+(?:Message|Trouble|Answer|Part|Known|Kind)\b(?!<)", "a name that says of what"),
    (r"\bmod\s+(?:members|leftovers|vitals|figures|told|papers|leave|mending|rest|returned|losses|ahead|scene|listen"
     r"|listener)\b",
     "dynamic_sources, stale_topics, watchdog, metrics, delivery_checks, completions, remove, recovery, "
     "deferred_packets, reachability, packet_loss, prefetch, test_image, http, subscriber"),
]

# Often unclear; not part of the count.
ALSO = [
    (words("goes|comes|went|came"), "the field's verb"),
    (words("has its say|have their say"), "the field's verb"),
    (words("thereof|of it|what it was|that one|those that|the other of"), "name the thing"),
    (words("says so|as said|so is"), "name the thing"),
    (words("under way|underway"), "in progress"),
    (words("once more|anew"), "again"),
    (words("ask|asks|asked"), "request, query, read"),
    (words("trouble|troubles"), "error, failure"),
    (words("refuses to|refuse to"), "say what it does"),
]

# Left as they are: file pattern, pattern of the words around the phrase, the reason.
EXCEPTIONS = [
    ("*", r"[Ss]tand[-_ ]?[Ii]n|STAND_IN", "a stand-in: what a test uses instead of a real server or model"),
    ("*", r"[Ss]tand[-_ ]?alone", "standalone"),
    ("tools/bundled_model/words.py", r".*", "the words that the bundled model was trained on"),
    ("tools/voice.py", r".*", "this list"),
    ("CONTRIBUTING.md", r"^\|.*\|$", "the table of words"),
]

# Files that are data, not text of ours.
DATA = ["Cargo.lock", "fuzz/Cargo.lock", "LICENSE-*", "models/*/tokenizer.json", "models/*/LICENSE", "*.svg",
        "tests/fixtures/*", "packaging/debian/copyright", "web/dist/*", "web/dist-docs/*", "web/package-lock.json"]


def files(paths):
    """The tracked text files, or those below `paths`, relative to the repository."""
    options = ["--others", "--exclude-standard"] if paths else []
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", *options, "--", *paths],
                            check=True, capture_output=True, text=True).stdout
    for name in sorted(set(filter(None, listed.split("\0")))):
        path = ROOT / name
        if any(fnmatch.fnmatch(name, pattern) for pattern in DATA) or not path.is_file() or path.is_symlink():
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def excepted(name, text, start, end):
    """Whether one of the named exceptions covers this phrase."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line = text[line_start:line_end if line_end >= 0 else len(text)]
    for pattern, around, _reason in EXCEPTIONS:
        if fnmatch.fnmatch(name, pattern):
            for found in re.finditer(around, line, re.MULTILINE):
                if found.start() + line_start <= start and end <= found.end() + line_start:
                    return True
    return False


def found(name, text, rows, code=()):
    """Each phrase of `rows` in `text`, and of `code` outside of comments: its line, itself, what to write. A phrase inside a
    longer one counts once."""
    hits, lower = [], text.lower()
    for pattern, write in [*rows, *code]:
        if not any(key in lower for key in KEYS.get(pattern.pattern, [""])):
            continue
        for match in pattern.finditer(text):
            line = text[text.rfind("\n", 0, match.start()) + 1:match.start()]
            in_comment = (pattern, write) in code and "//" in line
            if not in_comment and not excepted(name, text, *match.span()):
                hits.append((match.start(), match.end(), write))
    hits.sort(key=lambda hit: (hit[0], -hit[1]))
    covered = 0
    for start, end, write in hits:
        if start < covered:
            continue
        covered = end
        yield text.count("\n", 0, start) + 1, re.sub(r"\s*\n\W*", " ", text[start:end]), write


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", help="folders and files; everything that git tracks if none is given")
    parser.add_argument("--limit", type=int, default=0, help="how many phrases are accepted (default: 0)")
    parser.add_argument("--count", action="store_true", help="print only the counts")
    parser.add_argument("--also", action="store_true", help="list further phrases that are often unclear, without failing")
    arguments = parser.parse_args()
    paths = [str(Path(path).resolve().relative_to(ROOT)) for path in arguments.paths]

    compiled = [(re.compile(pattern), write) for pattern, write in (ALSO if arguments.also else TABLE)]
    rust = [] if arguments.also else [(re.compile(pattern), write) for pattern, write in RUST]
    total, by_phrase, by_file = 0, {}, {}
    for name, text in files(paths):
        for line, phrase, write in found(name, text, compiled, rust if name.endswith(".rs") else []):
            total += 1
            by_phrase[phrase.lower()] = by_phrase.get(phrase.lower(), 0) + 1
            by_file[name] = by_file.get(name, 0) + 1
            if not arguments.count:
                print(f"{name}:{line}: {phrase} -> {write}")
    if arguments.count:
        for name, count in sorted(by_file.items(), key=lambda item: (-item[1], item[0])):
            print(f"{count:5} {name}")
    common = sorted(by_phrase.items(), key=lambda item: (-item[1], item[0]))[:12]
    print(*(f"{count:5} {phrase}" for phrase, count in common), sep="\n", file=sys.stderr)
    print(f"{total} phrases in {len(by_file)} files; accepted: {arguments.limit}", file=sys.stderr)
    sys.exit(not arguments.also and total > arguments.limit)


if __name__ == "__main__":
    main()
